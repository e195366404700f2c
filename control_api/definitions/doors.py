"""Doors: the producers that take hooks, built once for each revision of their definition, and what they may reach meanwhile."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from control_api.definitions.plugin_contexts import PluginContexts, close_plugin
from control_api.definitions.services import Services, Stored
from notifier.one_line import one_line
from notifier.plugin import Context, Producer
from notifier.seal import Seal

logger = logging.getLogger(__name__)

_MAX_OPEN = 1000  # producers; of more, the one that was built first is closed
_NOTICE_CHARACTERS = 500


@dataclass
class _Open:
    plugin: Producer[Any]
    revision: int
    users: int = 0  # requests at work with it
    replaced: bool = False


class Doors:
    """Builds producers and closes them again."""

    def __init__(self, services: Services, seal: Seal, contexts: PluginContexts) -> None:
        self._services = services
        self._seal = seal
        self._contexts = contexts
        self._open: dict[str, _Open] = {}
        self._told: dict[str, str] = {}  # producer → the last notice

    @asynccontextmanager
    async def use(self, producer: str) -> AsyncIterator[Producer[Any]]:
        """The producer as it is defined now, while the block runs. Raises UnknownName, InputError and SecretError."""
        stored = await self._services.get("producer", producer)
        known = self._open.get(stored.name)
        one = known if known is not None and known.revision == stored.revision else self._build(stored)
        one.users += 1  # before anybody else has a turn, who may replace it by a newer one
        try:
            if one is not known:
                await self._replace(stored.name, one)
            yield one.plugin
        finally:
            one.users -= 1
            if one.replaced and not one.users:
                await close_plugin(one.plugin)

    def context(self, producer: str) -> Context:
        """What the producer may reach."""
        return self._contexts.context(producer, notice=partial(self._notice, producer))

    async def close(self) -> None:
        """Closes all producers; no request may be at work."""
        for name in list(self._open):
            await self._replace(name, None)

    def _build(self, stored: Stored) -> _Open:
        spec = stored.spec
        registry = self._services.registry
        plugin = registry.build("producer", stored.name, spec["type"], spec.get("parameters", {}), self._seal)
        assert isinstance(plugin, Producer)
        return _Open(plugin, stored.revision)

    async def _replace(self, name: str, new: _Open | None) -> None:
        gone = [self._open.pop(name, None)]
        if new is not None:
            self._open[name] = new
        if len(self._open) > _MAX_OPEN:
            gone.append(self._open.pop(next(iter(self._open))))
        for old in gone:
            if old is not None:
                old.replaced = True
                if not old.users:
                    await close_plugin(old.plugin)

    def _notice(self, producer: str, notice: str) -> None:
        """Logs it, once until there is another."""
        one = self._open.get(producer)
        text = one_line(notice if one is None else one.plugin.mask(notice), _NOTICE_CHARACTERS)
        if self._told.get(producer) != text:
            if len(self._told) >= _MAX_OPEN:
                self._told.clear()
            self._told[producer] = text
            logger.warning(
                "The producer %s says: %s", producer, text, extra={"action": "take_hook", "producer": producer}
            )
