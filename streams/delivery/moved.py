"""Moved: what is on record of chats that have another number, on `status`, for all workers and after restarts.

Whoever is told of a move by the service writes it; every worker reads it by the board (`streams.delivery.board`). It holds
until the consumer is changed: then its owner may have written the new number, and if not, the service says it once more.
"""

import asyncio
import logging
from collections.abc import Iterable

from notifier.errors import RecordError
from notifier.plugin import Moves
from notifier.record import now
from notifier.status import CHAT, Status
from notifier.topics import STATUS
from streams.delivery.consumers import Consumers
from streams.writer import Writer

logger = logging.getLogger(__name__)

MOST = 10_000  # chats; any client may write of more
_CHARACTERS = 200  # of a consumer's name and an address together; no service known to us has longer ones
_FINISH_S = 5.0


class Moved:
    """The moves of all consumers, by name."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._moves: dict[str, Moves] = {}
        self._records: dict[str, Status] = {}  # by name, `<consumer>/<chat id>`
        self._writes: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()  # what is written keeps its order

    def of(self, consumer: str) -> Moves:
        """The moves of a consumer, which stay the same object."""
        if consumer not in self._moves:
            self._moves[consumer] = Moves(lambda address, became: self._keep(consumer, address, became))
        return self._moves[consumer]

    def take(self, name: str, value: bytes | None) -> None:
        """Takes a record of the kind CHAT, or that there is none any more. One that nobody could have written changes nothing."""
        consumer, _, address = name.partition("/")
        if value is None:
            if self._records.pop(name, None) is not None:
                self.of(consumer).forget(address)
            return
        try:
            status = Status.decode(value)
        except RecordError as error:  # of a newer version, too: no reason to end a worker
            logger.debug("A record of the chat %s is no status: %s", name[:_CHARACTERS], error)
            return
        became = status.became
        fits = len(name) <= _CHARACTERS and (name in self._records or len(self._records) < MOST)
        if (status.kind, status.name, status.state) != (CHAT, name, "moved") or not (fits and consumer and address):
            return
        if became and became != address and len(became) <= _CHARACTERS:
            self._records[name] = Status(kind=CHAT, name=name, state="moved", at=status.at, became=became)
            self.of(consumer).heard(address, became)

    def forget(self, consumers: Iterable[str]) -> None:
        """These consumers were changed or deleted: what is on record of their chats is over."""
        gone = set(consumers)
        for name in [name for name in self._records if name.partition("/")[0] in gone]:
            self._drop(name)

    def forget_older(self, consumers: Consumers) -> None:
        """The same for what was on record when the board was loaded, where the consumer was changed since, or is not there."""
        for name, status in list(self._records.items()):
            consumer = name.partition("/")[0]
            if consumers.standings.of(consumer) in ("deleted", "unknown") or consumers.changes.since(
                consumer, status.at
            ):
                self._drop(name)

    async def finish(self) -> None:
        """Waits for what is being written, as long as a broker that is there takes; the service will say again what is not."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=_FINISH_S)
        for task in list(self._writes):
            task.cancel()

    def _keep(self, consumer: str, address: str, became: str) -> None:
        name = f"{consumer}/{address}"
        logger.warning(
            "The chat %s of the consumer %s is %s now; everything goes there from now on.",
            address,
            consumer,
            became,
            extra={"action": "move", "consumer": consumer},
        )
        detail = f"the chat {address} became {became}, and what is sent to it goes there; write that in the definition"
        status = Status(kind=CHAT, name=name, state="moved", at=now(), became=became, detail=detail)
        self._records[name] = status
        self._put(name, status.encode())

    def _drop(self, name: str) -> None:
        self.take(name, None)
        self._put(name, None)

    def _put(self, name: str, value: bytes | None) -> None:
        task = asyncio.create_task(self._write(name, value))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, name: str, value: bytes | None) -> None:
        async with self._lock:
            await self._writer.write(STATUS.name, f"{CHAT}/{name}", value)
