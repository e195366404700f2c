"""Following: has every producer that follows its source do so, and writes what comes to `messages` while no run asks.

Each runner follows every such producer; runners share a source by its own means. A follower lives as long as its definition stays
as it is. One that ends is started again, ever later up to a minute; no end of one touches another, or the role. A producer that a
person paused is not followed, and its source keeps what comes meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from notifier.catalog import Catalog
from notifier.errors import RecordError
from notifier.kafka import own_servers
from notifier.plugin import Plugin
from notifier.record import JsonObject
from notifier.settings import Settings
from notifier.topics import MESSAGES, is_own
from streams.runner.dead_letters import DeadLetters
from streams.runner.pauses import Pauses
from streams.runner.produced import Produced, read_followed
from streams.runner.producing import Producing
from streams.writer import Writer

logger = logging.getLogger(__name__)

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # before each new start; the last one for ever
WELL_AFTER_S = 30.0  # a follower that lived so long is well, and its back-off begins anew
_END_S = 10.0  # that a follower may take to end

# Is told how the source of a producer answers: its name, what is wrong, None where nothing is, and a notice for people.
Tell = Callable[[str, str | None, str | None], None]


def _to_nobody(producer: str, error: str | None, notice: str | None) -> None:
    return


@dataclass(frozen=True, kw_only=True, slots=True)
class _Follower:
    plugin: Plugin[Any]
    task: asyncio.Task[None]


class Following:
    """The followers of one runner. `begin` once definitions and pauses are known, `stop` before the writer is closed."""

    def __init__(
        self,
        settings: Settings,
        producing: Producing,
        writer: Writer,
        pauses: Pauses,
        tell: Tell = _to_nobody,
        *,
        back_off_s: Sequence[float] | None = None,
    ) -> None:
        self._settings = settings
        self._producing = producing
        self._writer = writer
        self._dead_letters = DeadLetters(settings, writer)
        self._pauses = pauses
        self._tell = tell
        self._back_off_s = back_off_s or BACK_OFF_S
        self._catalog: Catalog | None = None  # none: it does not follow yet, or no more
        self._followers: dict[str, _Follower] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._notices: dict[str, str] = {}  # what each producer said about its source since it was started
        # Of the runner: a plugin may say by the context of its own task how clients are to connect, and ours is none of those.
        self._context = copy_context()
        pauses.on_change(self._adjust)

    @property
    def begun(self) -> bool:
        """Whether it follows."""
        return self._catalog is not None

    def begin(self, catalog: Catalog) -> None:
        """Follows the producers of this catalog from now on; called again with each new one."""
        self._catalog = catalog
        self._adjust()

    async def stop(self) -> None:
        """Ends all followers, within some seconds."""
        self._catalog = None
        self._adjust()
        if self._ending:
            await asyncio.wait(self._ending.values(), timeout=_END_S)

    async def write(self, producer: str, items: Sequence[JsonObject | RecordError]) -> None:
        """Writes what a source gave; see `Feed.write`. Raises what the writer raises."""
        produced = read_followed(items, producer)
        writing = asyncio.create_task(self._write(producer, produced), context=self._context.copy())
        await writing
        self._tell(producer, None, self._notices.get(producer))

    async def _write(self, producer: str, produced: Sequence[Produced]) -> None:
        messages = [(item.key, item.value or b"") for item in produced if item.error is None]
        await self._writer.write_all(MESSAGES.name, messages)
        await self._dead_letters.bury_followed(producer, produced)

    # --- followers ---

    def _adjust(self) -> None:
        """Ends the followers that are not wanted as they are, and starts those that are missing."""
        catalog = self._catalog
        wanted: dict[str, Plugin[Any]] = {}
        if catalog is not None:
            wanted = {
                name: plugin
                for name, plugin in catalog.producers.items()
                if plugin.follows and not self._pauses.is_paused(name)
            }
        for name, follower in list(self._followers.items()):
            if wanted.get(name) is not follower.plugin:
                follower.task.cancel()
                del self._followers[name]
                self._ending[name] = follower.task
                follower.task.add_done_callback(partial(self._ended, name))
        for name, plugin in wanted.items():
            if name not in self._followers:
                keep = self._keep_following(name, self._ending.get(name))
                task = asyncio.create_task(keep, name=f"follow {name}", context=self._context.copy())
                self._followers[name] = _Follower(plugin=plugin, task=task)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._ending.get(name) is task:
            del self._ending[name]

    async def _keep_following(self, name: str, before: asyncio.Task[None] | None) -> None:
        """Follows until it is cancelled. `before` is the follower of the definition as it was."""
        if before is not None:
            await asyncio.wait([before], timeout=_END_S)
        loop, step = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            self._notices.pop(name, None)
            well = loop.call_later(WELL_AFTER_S, self._notice, name)
            try:
                error = await self._producing.follow(
                    name, _Feed(self, name), partial(self._notice, name), **self._told()
                )
            finally:
                well.cancel()
            step = 0 if loop.time() - began >= WELL_AFTER_S else step
            wait_s = self._back_off_s[min(step, len(self._back_off_s) - 1)]
            step += 1
            self._tell(name, error, None)
            logger.warning(
                "The producer %s does not follow its source now and is tried again in %g s: %s",
                name,
                wait_s,
                error,
                extra={"action": "follow", "producer": name},
            )
            await asyncio.sleep(wait_s)

    def _notice(self, name: str, text: str | None = None) -> None:
        """The source answers, and the producer may have said something about it."""
        if text is not None:
            self._notices[name] = text
        self._tell(name, None, self._notices.get(name))

    def _told(self) -> dict[str, Any]:
        """What the context of a producer that follows has beside that of one that is asked."""
        own_topic = partial(is_own, prefix=self._settings.topic_prefix)
        return {"own_topic": own_topic, "own_servers": own_servers(self._settings)}


class _Feed:
    """The way of one producer into the pipeline."""

    def __init__(self, following: Following, producer: str) -> None:
        self._following = following
        self._producer = producer

    async def write(self, items: Sequence[JsonObject | RecordError]) -> None:
        await self._following.write(self._producer, items)
