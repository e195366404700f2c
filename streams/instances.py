"""Instances: the consumers that delivery calls, always as the newest definitions say.

A definition that changes brings a new instance, used from the next call on; the old one is closed when its last call ends.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from notifier.catalog import Catalog
from notifier.definition import definition_key
from notifier.plugin import Consumer
from streams.delivery.parking import Standing

logger = logging.getLogger(__name__)

DELETED_AFTER_S = 3.0  # a delivery may come a moment before the definition of its consumer


class Instances:
    """Follows the catalog; see `follow`."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._uses: Counter[Consumer[Any]] = Counter()  # plugins are equal only to themselves
        self._retired: set[Consumer[Any]] = set()
        self._missing: dict[str, float] = {}  # consumer → since when it is not defined; `time.monotonic()`
        self._closing: set[asyncio.Task[None]] = set()

    def follow(self, catalog: Catalog) -> None:
        """Takes a new catalog; called in the event loop."""
        before = self._catalog.consumers if self._catalog is not None else {}
        self._catalog = catalog
        current = set(catalog.consumers.values())
        for name, instance in before.items():
            if instance not in current:
                self._retired.add(instance)
                self._close_idle(instance)
            if self._defined(name):
                continue
            self._missing.setdefault(name, time.monotonic())
        for name in [name for name in self._missing if self._defined(name)]:
            del self._missing[name]

    def standing(self, name: str) -> Standing:
        """What is known of a consumer now."""
        assert self._catalog is not None
        if name in self._catalog.consumers:
            return "usable"
        if definition_key("consumer", name) in self._catalog.problems:
            return "broken"
        return "deleted" if self.missing_s(name) >= DELETED_AFTER_S else "unknown"

    def missing_s(self, name: str) -> float:
        """For how many seconds a consumer was seen not to be defined; 0 for one that is."""
        if self._defined(name):
            return 0.0
        return time.monotonic() - self._missing.setdefault(name, time.monotonic())

    def problem(self, name: str) -> str:
        """Why a consumer that is `broken` cannot be used."""
        assert self._catalog is not None
        return self._catalog.problems.get(definition_key("consumer", name), "")

    def get(self, name: str) -> Consumer[Any] | None:
        """The instance, to be asked about its parameters; to call it, see `use`."""
        assert self._catalog is not None
        return self._catalog.consumers.get(name)

    @contextmanager
    def use(self, name: str) -> Iterator[Consumer[Any] | None]:
        """The instance to call; it is not closed before the end. None where there is none any more."""
        instance = self.get(name)
        if instance is None:
            yield None
            return
        self._uses[instance] += 1
        try:
            yield instance
        finally:
            self._uses[instance] -= 1
            if not self._uses[instance]:
                del self._uses[instance]
            if instance in self._retired:
                self._close_idle(instance)

    async def close(self) -> None:
        """Closes every instance."""
        if self._catalog is not None:
            for instance in self._catalog.consumers.values():
                self._retired.add(instance)
        for instance in list(self._retired):
            self._uses.pop(instance, None)
            self._close_idle(instance)
        await asyncio.gather(*self._closing)

    def _defined(self, name: str) -> bool:
        assert self._catalog is not None
        return name in self._catalog.consumers or definition_key("consumer", name) in self._catalog.problems

    def _close_idle(self, instance: Consumer[Any]) -> None:
        if not self._uses[instance]:
            self._retired.discard(instance)
            task = asyncio.ensure_future(_close(instance))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(instance: Consumer[Any]) -> None:
    try:
        await instance.close()
    except Exception:  # somebody else's code, and nothing depends on its end
        logger.exception("A consumer of type %s could not be closed.", instance.type, extra={"action": "close_plugin"})
