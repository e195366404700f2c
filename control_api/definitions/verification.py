"""Verification: definitions whose plugin tries them against the real service before they are saved (`?verify=true`).

draft what would be stored ─► ask the plugin's `check`, 15 seconds at most ─► save, unless it was changed meanwhile

No transaction is open while the service is asked. The service's refusal is an InputError in its own words, with the
definition's secrets masked. Scripts do not run here.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any, Literal

from control_api.access.actor import Actor
from control_api.definitions.plugin_contexts import PluginContexts, close_plugin
from control_api.definitions.services import Services, Stored
from control_api.definitions.writes import Draft, Write
from notifier.errors import Conflict, DeliveryError, FieldError, InputError, NotifierError, StaleVersion, UnknownName
from notifier.one_line import one_line
from notifier.outcome import Kind
from notifier.plugin import Consumer, Context, Plugin, Producer, secrets_in
from notifier.script import Script
from notifier.seal import Seal

logger = logging.getLogger(__name__)

CHECK_S = 15.0  # that a plugin's check may take
MAX_CHARACTERS = 500  # of the service's words in an error
_BELOW = "/parameters"


class Verification:
    """Saves definitions, after their plugin's check where that is asked for."""

    def __init__(self, services: Services, seal: Seal, contexts: PluginContexts) -> None:
        self._services = services
        self._seal = seal
        self._contexts = contexts

    async def save(self, actor: Actor, write: Write, *, verify: bool = False) -> Stored:
        """Creates, replaces or patches a definition; with `verify`, after its plugin's check.

        Raises as `Services.save` does, InputError for what the service refuses, and Conflict where the definition was
        changed while it was being checked.
        """
        if not verify:
            return await self._services.save(actor, write)
        draft = await self._services.draft(actor, write)
        await self.check(write.kind, draft)
        try:
            return await self._services.save(actor, replace(write, expected=draft.revision))
        except StaleVersion:
            if draft.revision == write.expected:
                raise
            raise Conflict(
                f"the {write.kind} {write.name!r} was changed while it was being checked; try again"
            ) from None

    async def check(self, kind: Kind, draft: Draft) -> None:
        """Asks the plugin of a producer or consumer. Raises InputError."""
        assert kind in ("producer", "consumer")
        context = await self._context(draft)
        plugin = self._build(kind, draft)
        try:
            async with asyncio.timeout(CHECK_S) as limit:
                await plugin.check(context)
        except TimeoutError as error:
            if not limit.expired():
                raise InputError(_faults(error, plugin)) from None
            text = f"the service did not answer within {CHECK_S:g} s; try again, or save it without `verify`"
            raise InputError(FieldError(_BELOW, text)) from None
        except NotifierError as error:
            raise InputError(_faults(error, plugin)) from None
        except Exception as error:  # anybody's code; a check that breaks must not look like a fault of ours
            logger.warning(
                "The check of the %s %s raised %s.",
                kind,
                draft.name,
                type(error).__name__,
                extra={"action": "check_plugin"},
            )
            raise InputError(_faults(error, plugin)) from None
        finally:
            await close_plugin(plugin)

    async def _context(self, draft: Draft) -> Context:
        scripts = await self._scripts(draft)

        def script(name: str) -> Script:
            if name not in scripts:
                raise UnknownName("script", name)
            return scripts[name]

        return self._contexts.context(draft.name, script)

    async def _scripts(self, draft: Draft) -> dict[str, Script]:
        names = [reference.name for reference in draft.spec.references if reference.kind == "script"]
        if not names:
            return {}
        found = await self._services.get_many("script", names)
        return {
            name: Script(name=name, executor=stored.document["executor"], content=stored.document["content"])
            for name, stored in found.items()
        }

    def _build(self, kind: Literal["producer", "consumer"], draft: Draft) -> Producer[Any] | Consumer[Any]:
        value = draft.spec.value
        registry = self._services.registry
        plugin = registry.build(kind, draft.name, value["type"], value.get("parameters", {}), self._seal)
        assert isinstance(plugin, Producer | Consumer)
        return plugin


def _faults(error: Exception, plugin: Plugin[Any]) -> list[FieldError]:
    if isinstance(error, InputError):
        return [FieldError(fault.pointer, _words(fault.detail, plugin)) for fault in error.errors]
    text = str(error) if isinstance(error, NotifierError) else f"the check failed: {type(error).__name__}: {error}"
    return [FieldError(_pointer(error, plugin), _words(text, plugin))]


def _pointer(error: Exception, plugin: Plugin[Any]) -> str:
    """Refused credentials point at the only secret; with several secrets, or none, at all parameters."""
    if isinstance(error, DeliveryError) and error.reason == "unauthorized":
        given = [name for name, value in plugin.parameters.__dict__.items() if any(secrets_in([value]))]
        if len(given) == 1:
            return f"{_BELOW}/{given[0]}"
    return _BELOW


def _words(text: str, plugin: Plugin[Any]) -> str:
    return one_line(plugin.mask(text), MAX_CHARACTERS)
