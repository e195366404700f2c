"""Reporting: says on `status` whether this process works, which definitions it cannot use, and which records it passed over.

Written at every change and every ten seconds. Who reads it takes a process that was silent for a minute for gone, unless its
last word was why it stopped. Reporting never holds up a role: a broker that is away is waited for beside it.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from notifier.ending import end
from notifier.errors import BrokerError, NotifierError
from notifier.kafka import end_kafka_producer, ensure_topics, kafka_producer
from notifier.one_line import one_line
from notifier.record import now
from notifier.settings import Settings
from notifier.status import ROLE, State, Status
from notifier.topics import STATUS
from streams.definitions import Definitions

logger = logging.getLogger(__name__)

EVERY_S = 10.0
_LOOK_S = 1.0
_END_S = (
    10.0  # for the last word; it may be the first, with a topic to create and a producer to start on a busy machine
)
_WITHDRAW_S = 2.0  # for the tombstones of an orderly end, which does not wait for a broker that is away
_MOST_PROBLEMS = 200


@asynccontextmanager
async def reported(
    settings: Settings, roles: Iterable[str], definitions: Definitions, notice: Callable[[], str | None] = lambda: None
) -> AsyncIterator[None]:
    """Reports how these roles of this process are while its body runs, and at its end why it ended where that is an error.

    `notice` is what a process that works has to say to people.
    """
    reporting = Reporting(settings, roles, definitions, notice)
    task = asyncio.create_task(reporting.run(), name="reporting")
    failure: BaseException | None = None
    try:
        yield
    except Exception as error:
        failure = error
        raise
    finally:
        await end(task)
        await reporting.end(failure)


class Reporting:
    """Reports for the roles of one process. `run` goes on until it is cancelled; then `end`."""

    def __init__(
        self,
        settings: Settings,
        roles: Iterable[str],
        definitions: Definitions,
        notice: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._notice = notice
        self._names = [f"{role}@{socket.gethostname()[:200]}" for role in roles]
        self._definitions = definitions
        self._producer: AIOKafkaProducer | None = None  # its own: the end of a role's may wait for what is under way

    async def run(self) -> None:
        """Reports at every change, and every ten seconds."""
        clock = asyncio.get_running_loop().time
        said: object = None
        due = 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._definitions.loaded:
                continue
            notice = self._notice()
            known = (self._definitions.catalog.problems, self._definitions.passed_over, notice)
            if known == said and clock() < due:
                continue
            try:
                await self._write("ready", notice and one_line(notice))
            except (KafkaError, NotifierError, OSError) as error:
                logger.debug("The status cannot be reported now: %s", error)
                continue
            said, due = known, clock() + EVERY_S

    async def end(self, failure: BaseException | None) -> None:
        """Says why the process cannot go on, or that it has ended in order."""
        try:
            if not isinstance(failure, BrokerError) and (failure or self._producer):
                async with asyncio.timeout(_WITHDRAW_S if failure is None else _END_S):
                    await (self._withdraw() if failure is None else self._write("stopped", one_line(failure)))
        except (KafkaError, NotifierError, OSError, TimeoutError) as error:
            logger.info("The last status was not reported: %s", one_line(error), extra={"action": "report"})
        finally:
            await self._close()

    async def _write(self, state: State, detail: str | None = None) -> None:
        passed_over = self._definitions.passed_over
        for name in self._names:
            status = Status(
                kind=ROLE,
                name=name,
                state=state,
                at=now(),
                detail=detail,
                problems=_some(self._definitions.catalog.problems.items()),
                passed_over=(passed_over,) if passed_over.count else (),
            )
            await self._send(name, status.encode())

    async def _withdraw(self) -> None:
        for name in self._names:
            await self._send(name, None)

    async def _send(self, name: str, value: bytes | None) -> None:
        if self._producer is None:
            await ensure_topics(self._settings, [STATUS])
            producer = kafka_producer(self._settings, linger_ms=0)
            try:
                await producer.start()
            except BaseException:
                await end_kafka_producer(producer)
                raise
            self._producer = producer
        try:
            topic = self._settings.topic_prefix + STATUS.name
            await self._producer.send_and_wait(topic, value, key=f"{ROLE}/{name}".encode())
        except KafkaError:
            await self._close()
            raise

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_kafka_producer(producer)


def _some(problems: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: one_line(text) for name, text in sorted(problems)[:_MOST_PROBLEMS]}
