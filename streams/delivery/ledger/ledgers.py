"""Ledgers: what a worker knows of the deliveries that were made, by itself and by others before it."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from notifier.errors import BrokerError, NotifierError
from notifier.settings import Settings
from streams.delivery.ledger.accepted import Accepted
from streams.delivery.ledger.feed import Asked, Feed, TopicChanged
from streams.delivery.ledger.file import KEPT
from streams.delivery.ledger.folder import ClaimedFile
from streams.delivery.ledger.ledger import Ledger
from streams.delivery.ledger.store import Store

logger = logging.getLogger(__name__)

_RETRY_S = 1.0


class Unread(NamedTuple):
    """The first record of a partition that was read since it was assigned, which is the first that is not committed."""

    offset: int
    since_ms: int  # when it, or one of those read with it, was written; in milliseconds since 1970


class Ledgers:
    """Follows `attempts` from `run` on. `clock` gives seconds since 1970; `kept` ids are remembered for longer than a day."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time, kept: int = KEPT) -> None:
        self.accepted = Accepted()
        self._settings = settings
        self._clock, self._kept = clock, kept
        self._asked: list[Asked] = []
        self._claimed: ClaimedFile | None = None
        self._store: Store | None = None

    @property
    def notice(self) -> str | None:
        """That the file was damaged, for people."""
        return None if self._claimed is None else self._claimed.notice

    async def load(self, wanted: Mapping[TopicPartition, tuple[Ledger, Unread]]) -> None:
        """Brings ledgers up to this moment, each with the tries at records from its first unread one on.

        Waits for the broker as long as it takes.
        """
        oldest_ms = min(max(0, unread.since_ms) for _, unread in wanted.values())
        asked = Asked(oldest_ms, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        try:
            await asked.done
        finally:
            self._asked.remove(asked)
        assert self._store is not None
        for (topic, partition), (ledger, unread) in wanted.items():
            ledger.load(await self._store.call(self._store.file.tries, topic, partition, unread.offset))

    async def run(self) -> None:
        """Works until it is cancelled. Raises NotifierError where there can be no file, or it turns out to be damaged."""
        self._claimed = await asyncio.to_thread(ClaimedFile, self._settings, self._clock, self._kept)
        self._store = Store(self._claimed.file)
        self.accepted.keep_in(self._claimed.file, self._give_up)
        try:
            while True:
                await self._feed(self._store)
                await asyncio.sleep(_RETRY_S)
        finally:
            self._store.close()
            self._claimed.close()

    async def _feed(self, store: Store) -> None:
        try:
            await self._read(store)
        except (KafkaError, BrokerError, OSError, sqlite3.OperationalError) as error:  # the last: a disk that is full
            logger.warning(
                "The ledger cannot follow the attempts now and will try again: %s: %s",
                type(error).__name__,
                error,
                extra={"action": "read_ledger"},
            )
            store.undo()
        except sqlite3.Error as error:
            raise self._give_up(error) from None

    async def _read(self, store: Store) -> None:
        try:
            await Feed(self._settings, store, self.accepted, self._asked, self._clock).run()
        except TopicChanged:
            logger.warning(
                "The attempts are not those that were read before, or some are gone unread: they are read anew.",
                extra={"action": "read_ledger"},
            )
            await store.call(store.file.forget_places)
            for asked in self._asked:
                asked.ends = None

    def _give_up(self, error: sqlite3.Error) -> NotifierError:
        """What to end with, since the file cannot be read. A damaged one is moved aside, so that the next start makes another."""
        assert self._claimed is not None
        if type(error) is not sqlite3.DatabaseError:  # the classes derived from it are about the disk, or about a call
            return NotifierError(f"the ledger {self._claimed.file.path} cannot be read: {error}")
        return NotifierError(self._claimed.set_aside(error))
