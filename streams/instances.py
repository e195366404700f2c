"""Instances: the plugin instances that a role calls, and when the replaced ones are closed.

The catalog makes a new instance for a definition that changes and keeps the others (`notifier.catalog`). A new one is used
from the next call on; the old one is closed when its last call ends. What is called and within which limits is left to
`streams.runner.producing` and `streams.delivery.calling`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from notifier.plugin import Plugin

logger = logging.getLogger(__name__)

P = TypeVar("P", bound=Plugin[Any])


class Instances(Generic[P]):
    """The instances of one kind of plugin, by the name of their definition. For one event loop."""

    def __init__(self) -> None:
        self._current: Mapping[str, P] = {}
        # By identity: a plugin may define its own equality.
        self._calls: Counter[int] = Counter()  # under way
        self._retired: dict[int, P] = {}  # replaced and not closed yet
        self._closing: set[asyncio.Task[None]] = set()

    def replace(self, instances: Mapping[str, P]) -> None:
        """Uses these from the next call on, and closes those that are left out once nobody calls them."""
        kept = {id(instance) for instance in instances.values()}
        self._retired.update((id(old), old) for old in self._current.values() if id(old) not in kept)
        self._current = instances
        self._close_idle()

    def get(self, name: str) -> P | None:
        """The instance, to be asked about its parameters. Calls go through `use`."""
        return self._current.get(name)

    @contextmanager
    def use(self, name: str) -> Iterator[P | None]:
        """Lends the instance for a call; it is not closed before the end. None where the name has none."""
        instance = self._current.get(name)
        if instance is None:
            yield None
            return
        key = id(instance)
        self._calls[key] += 1
        try:
            yield instance
        finally:
            self._calls[key] -= 1
            if not self._calls[key]:
                del self._calls[key]
            self._close_idle()

    async def close(self) -> None:
        """Closes all instances and waits for them. One that is still being called is closed after its call, unawaited."""
        self.replace({})
        await asyncio.gather(*self._closing)

    def _close_idle(self) -> None:
        for key in [key for key in self._retired if key not in self._calls]:
            task = asyncio.create_task(_close(self._retired.pop(key)))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(instance: Plugin[Any]) -> None:
    try:
        await instance.close()
    except Exception:  # foreign code, and nothing depends on its end
        logger.exception(
            "A %s of type %s did not close.", instance.kind, instance.type, extra={"action": "close_plugin"}
        )
