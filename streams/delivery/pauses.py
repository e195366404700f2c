"""Pauses: what people are told of consumers that are held, in the log and on `status`."""

import asyncio
import logging
from datetime import timedelta

from notifier.definition import definition_key
from notifier.record import now, rfc3339
from notifier.status import Status
from notifier.topics import STATUS
from streams.writer import Writer

logger = logging.getLogger(__name__)

_MAX_DETAIL = 2000  # characters


class Pauses:
    """Reports beside the deliveries, which do not wait for it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._paused: set[str] = set()  # consumers, in the log
        self._writes: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()  # the reports of a consumer keep their order

    def begin(self, consumer: str, wait_s: float, said: str) -> None:
        """A consumer is held, or held on, for `wait_s` seconds, since the service `said` that the credential is wrong."""
        at = now()
        not_before = at + timedelta(seconds=wait_s)
        self._paused.add(consumer)
        logger.warning(
            "The consumer %s is paused, and its deliveries wait: its credential was refused (%s). It is tried again at %s,"
            " or once it is changed.",
            consumer,
            said,
            rfc3339(not_before),
            extra={"action": "pause", "consumer": consumer},
        )
        status = Status(
            kind="consumer",
            name=consumer,
            state="paused",
            reason="unauthorized",
            at=at,
            detail=said[:_MAX_DETAIL],
            not_before=not_before,
        )
        self._write(consumer, status.encode())

    def end(self, consumer: str) -> None:
        """A consumer is not held. Said on `status` also of one that was not paused here: another worker may have said so."""
        if consumer in self._paused:
            self._paused.discard(consumer)
            logger.info("The consumer %s goes on.", consumer, extra={"action": "resume", "consumer": consumer})
        self._write(consumer, None)

    async def finish(self) -> None:
        """Waits for what is being written."""
        await asyncio.gather(*self._writes)

    def _write(self, consumer: str, value: bytes | None) -> None:
        task = asyncio.create_task(self._report(consumer, value))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _report(self, consumer: str, value: bytes | None) -> None:
        async with self._lock:
            await self._writer.write(STATUS.name, definition_key("consumer", consumer), value)
