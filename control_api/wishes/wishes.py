"""Wishes: follows what people ask, on `status`, and answers it there. One API process at a time does so, by a lease.

A wish is done before its answer is on the topic, so a process that dies between leaves it to be done again, which changes
nothing. What is asked while no API is there waits on the topic, for an hour.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from control_api.definitions.lease import Lease, LeaseLost
from control_api.intake.intake import Intake
from control_api.intake.outgoing import Outgoing
from control_api.wishes.granting import Granting
from notifier.database import Database
from notifier.ending import end
from notifier.errors import NotifierError, RecordError
from notifier.kafka import ensure_topics, kafka_consumer
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import STATUS
from notifier.wish import LINK, WISH, Wish

logger = logging.getLogger(__name__)

OLD = timedelta(hours=1)  # what was asked before is not done any more: who asked has given up
_FORGOTTEN = timedelta(days=1)  # an answer that no worker has told since then is taken off the topic
_POLL_MS = 300
_RETRY_S = 1.0
_MOST = 10_000  # that wait; any client may write more


class Wishes:
    """Does what people ask, while it holds the lease. `start` once, `stop` at the end."""

    def __init__(self, settings: Settings, database: Database, granting: Granting, intake: Intake) -> None:
        self._settings = settings
        self._granting = granting
        self._intake = intake
        self._lease = Lease(database, name="wishes", work="does what people ask in chats")
        self._partition = TopicPartition(settings.topic_prefix + STATUS.name, 0)
        self._waiting: dict[str, Wish] = {}  # asked, or answered long ago, by key
        self._answered: dict[str, tuple[Wish, bytes]] = {}  # what was done and could not be said on the topic, by key
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins; returns at once, whether the broker is there or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="wishes")

    async def stop(self) -> None:
        """Ends, and gives the lease back."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        await self._lease.release()

    async def _follow(self) -> None:
        while True:
            kafka: AIOKafkaConsumer | None = None
            try:
                if await self._lease.acquire():
                    await ensure_topics(self._settings, [STATUS])
                    kafka = kafka_consumer(self._settings, fetch_max_wait_ms=_POLL_MS)
                    await kafka.start()
                    await self._read(kafka)
            except LeaseLost:
                pass
            except (KafkaError, NotifierError, OSError) as error:
                logger.debug("What people ask cannot be done now: %s", error)
            except Exception:  # the supervisor of this loop
                logger.exception("What people ask is read anew.", extra={"action": "follow_wishes"})
            finally:
                if kafka is not None:
                    with suppress(KafkaError, OSError):
                        await kafka.stop()
            await asyncio.sleep(_RETRY_S)

    async def _read(self, kafka: AIOKafkaConsumer) -> None:
        """Reads the topic from its beginning, and does what is asked once all of it is known: it may be answered further on."""
        self._waiting.clear()
        kafka.assign([self._partition])
        await kafka.seek_to_beginning(self._partition)
        end = (await kafka.end_offsets([self._partition]))[self._partition]
        while True:
            for record in (await kafka.getmany(self._partition, timeout_ms=_POLL_MS)).get(self._partition, []):
                self.take((record.key or b"").decode(errors="replace"), record.value)
            await self._lease.renew()
            if await kafka.position(self._partition) >= end:
                await self._do()

    def take(self, key: str, value: bytes | None) -> None:
        """Takes a record of the topic."""
        if key.partition("/")[0] not in (LINK, WISH):
            return
        self._waiting.pop(key, None)
        if value is None:
            return
        try:
            wish = Wish.decode(value)
        except RecordError as error:  # any client may write one
            logger.debug("A record of the key %s is no wish: %s", key[:200], error)
            return
        if wish.key == key and len(self._waiting) < _MOST:
            self._waiting[key] = wish

    async def _do(self) -> None:
        """Answers what is asked, in its order, and takes off the topic what nobody tells."""
        at = now()
        for key, wish in list(self._waiting.items()):
            value: bytes | None
            if wish.state == "asked" and at - wish.at < OLD:
                await self._lease.renew()
                value = await self._answer(key, wish)
            elif at - wish.at > (OLD if wish.state == "asked" else _FORGOTTEN):
                value = None
            else:
                continue
            await self._intake.write([Outgoing(STATUS, value, key.encode())])
            self._waiting.pop(key, None)
            self._answered.pop(key, None)

    async def _answer(self, key: str, wish: Wish) -> bytes:
        """Does it, once, however often the topic is read anew since the broker went away meanwhile: a code works once."""
        asked, answer = self._answered.get(key, (None, b""))
        if asked != wish:
            answer = (await self._granting.grant(wish)).encode()
            self._answered[key] = wish, answer
        return answer
