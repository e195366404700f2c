"""Verification: definitions whose plugin tries them against the real service before they are saved (`?verify=true`).

draft what would be stored ─► ask the plugin's `check`, 15 seconds at most ─► save, if nobody else has meanwhile

No transaction is open while the service is asked. What it answers is what is wrong with the definition: an InputError
with the service's words, the definition's secrets masked in them. Scripts do not run here.
"""

import asyncio
import logging
from typing import Any, Literal

from control_api.access.actor import Actor
from control_api.definitions.services import Draft, Stored
from control_api.parts import Parts
from notifier.errors import Conflict, DeliveryError, FieldError, InputError, NotifierError, StaleVersion, UnknownName
from notifier.outcome import Kind
from notifier.plugin import Consumer, Context, Plugin, Producer, secrets_in
from notifier.sandbox import Level, Sandbox
from notifier.script import Script

logger = logging.getLogger(__name__)

CHECK_S = 15.0  # that a plugin's check may take
_CLOSE_S = 3.0
MAX_CHARACTERS = 500  # of what a service says that are passed on
_BELOW = "/parameters"

Write = Literal["create", "replace", "patch"]


async def save(
    parts: Parts,
    actor: Actor,
    action: Write,
    kind: Kind,
    name: str | None,
    written: object,
    *,
    expected: int | None = None,
    verify: bool = False,
) -> Stored:
    """Creates (without a name), replaces or patches a definition, after its plugin's check if that is asked for.

    Raises as `Services` does, InputError for what the service refuses, and Conflict where the definition was changed while
    it was being checked.
    """
    checked = expected
    if verify:
        draft = await parts.services.draft(actor, action, kind, name, written, expected)
        await check(parts, kind, draft)
        checked = draft.revision
    try:
        if name is None:
            return await parts.services.create(actor, kind, written)
        change = parts.services.replace if action == "replace" else parts.services.patch
        return await change(actor, kind, name, written, checked)
    except StaleVersion:
        if checked == expected:
            raise
        raise Conflict(f"the {kind} {name!r} was changed while it was being checked; try again") from None


async def check(parts: Parts, kind: Kind, draft: Draft) -> None:
    """Asks the plugin of a producer or consumer. Raises InputError."""
    assert kind in ("producer", "consumer")
    value = draft.spec.value
    scripts = await _scripts(parts, draft)

    def script(name: str) -> Script:
        if name not in scripts:
            raise UnknownName("script", name)
        return scripts[name]

    context = Context(
        name=draft.name,
        sandbox=Sandbox(level=Level.none, explanation="scripts do not run in the control API"),
        script=script,
        services=parts.settings.services,
    )
    plugin = parts.registry.build(kind, draft.name, value["type"], value.get("parameters", {}), parts.seal)
    assert isinstance(plugin, Producer | Consumer)
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
        await _close(plugin)


async def _scripts(parts: Parts, draft: Draft) -> dict[str, Script]:
    names = [reference.name for reference in draft.spec.references if reference.kind == "script"]
    if not names:
        return {}
    found = await parts.services.get_many("script", names)
    return {
        name: Script(name=name, executor=stored.document["executor"], content=stored.document["content"])
        for name, stored in found.items()
    }


async def _close(plugin: Plugin[Any]) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await plugin.close()
    except Exception:  # somebody else's code, and nothing depends on its end
        logger.exception("A plugin of type %s did not close.", plugin.type, extra={"action": "close_plugin"})


def _faults(error: Exception, plugin: Plugin[Any]) -> list[FieldError]:
    if isinstance(error, InputError):
        return [FieldError(fault.pointer, _one_line(fault.detail, plugin)) for fault in error.errors]
    text = str(error) if isinstance(error, NotifierError) else f"the check failed: {type(error).__name__}: {error}"
    return [FieldError(_pointer(error, plugin), _one_line(text, plugin))]


def _pointer(error: Exception, plugin: Plugin[Any]) -> str:
    """What a service does not accept is the secret, where there is just one; what else it may mean is not known."""
    if isinstance(error, DeliveryError) and error.reason == "unauthorized":
        given = [name for name, value in plugin.parameters.__dict__.items() if any(secrets_in([value]))]
        if len(given) == 1:
            return f"{_BELOW}/{given[0]}"
    return _BELOW


def _one_line(text: str, plugin: Plugin[Any]) -> str:
    text = " ".join(plugin.mask(text).split())
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
