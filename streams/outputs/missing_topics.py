"""MissingTopics: finds the partitions of output topics that are new, missing, back or grown.

A missing topic of the table is created. Where a `deliveries.` topic is missing for `wait_s`, its deliveries are parked (`retry`,
due in 30 s), and so are those that come later, until it is back; nothing else waits for it.
"""

import asyncio
import logging
from datetime import timedelta
from time import monotonic
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from notifier.delivery import Delivery
from notifier.errors import BrokerError
from notifier.kafka import ensure_topics
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import DELIVERIES, PARKED, TOPICS
from streams.outputs.batch_producer import BatchProducer
from streams.outputs.connection import Connection
from streams.outputs.outlet import Outlet, Outlets
from streams.outputs.queue import settle_all

logger = logging.getLogger(__name__)

MISSING_WAIT_S = 30.0
PARKED_FOR_S = 30.0
FAULT_PAUSE_S = 5.0  # after a fault of ours
_POLL_S = 0.25  # between looks while a topic is missing
_WATCH_S = 1.0  # between looks otherwise


class MissingTopics:
    """Opens outlets whose topics are there, and empties those whose topics are missing too long."""

    def __init__(self, settings: Settings, outlets: Outlets, connection: Connection, wait_s: float | None) -> None:
        self._settings = settings
        self._prefix = settings.topic_prefix
        self._outlets = outlets
        self._connection = connection
        self._wait_s = MISSING_WAIT_S if wait_s is None else wait_s
        self._wanted = asyncio.Event()  # records wait for an outlet that is not open

    def look_soon(self) -> None:
        """Looks without waiting for the next turn."""
        self._wanted.set()

    async def keep_looking(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await self._wait_to_look(_POLL_S if self._any_missing() else _WATCH_S)
            try:
                await self._look()
            except (KafkaError, BrokerError, OSError) as error:
                logger.warning("The broker does not say which topics it has: %r", error, extra={"action": "send"})
                await asyncio.sleep(_WATCH_S)
            except Exception:  # a fault of ours must not end the watch
                logger.exception("Missing topics could not be looked for.", extra={"action": "send"})
                await asyncio.sleep(FAULT_PAUSE_S)
            if self._any_missing():
                await asyncio.sleep(_POLL_S)  # however many records come for it meanwhile

    def _any_missing(self) -> bool:
        return any(outlet.missing_since is not None for outlet in self._outlets.all())

    async def _wait_to_look(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._wanted.wait()
        except TimeoutError:
            pass  # it is time for a look all the same
        self._wanted.clear()

    async def _look(self) -> None:
        producer = await self._connection.ready()
        late = monotonic() - _WATCH_S
        doubtful = {outlet for outlet in self._outlets.all() if not outlet.open and outlet.waits()}
        doubtful |= {self._outlets.of(queue) for queue in self._outlets.flights if queue.since < late}
        if doubtful:
            for outlet in doubtful:
                # Not awaited: the one update below is for all of them.
                producer.client.add_topic(self._prefix + outlet.topic).add_done_callback(_forget)
            if not await producer.client.force_metadata_update():
                raise KafkaError("the broker does not answer")  # so it is not known which topics are missing
        cluster = producer.client.cluster
        for outlet in self._outlets.all():
            partitions = len(cluster.partitions_for_topic(self._prefix + outlet.topic) or ())
            if partitions:
                self._open(outlet, partitions)
            elif outlet in doubtful:
                await self._miss(producer, outlet)

    def _open(self, outlet: Outlet, partitions: int) -> None:
        if not outlet.open or partitions != len(outlet.queues):
            outlet.open, outlet.missing_since = True, None
            if outlet.queues[0].partition < 0 or partitions != len(outlet.queues):
                outlet.divide(partitions)
            for queue in outlet.queues:
                self._outlets.send_again(queue)

    async def _miss(self, producer: BatchProducer, outlet: Outlet) -> None:
        if not outlet.topic.startswith(DELIVERIES):
            await ensure_topics(self._settings, [row for row in TOPICS if row.name == outlet.topic])
            self.look_soon()
            return
        outlet.open = False
        if outlet.missing_since is None:
            outlet.missing_since = monotonic()
            logger.warning(
                "The topic %s is missing; in %.0f s its records are parked.",
                self._prefix + outlet.topic,
                self._wait_s,
                extra={"action": "send", "topic": self._prefix + outlet.topic},
            )
        elif monotonic() - outlet.missing_since >= self._wait_s:
            if any(queue.topic == outlet.topic for queue in self._outlets.flights):
                # The batch producer holds on to the batches, and would write them should the topic come back.
                self._connection.replace(producer)
            self._park(outlet)

    def _park(self, outlet: Outlet) -> None:
        due = now() + timedelta(seconds=PARKED_FOR_S)
        shelf = self._outlets.outlet(PARKED.name)
        count = 0
        for queue in outlet.queues:
            records, receipts = queue.empty()
            for _, value in records:
                delivery = Delivery.decode(value)
                not_before = max(due, delivery.not_before) if delivery.not_before else due
                parked = msgspec.structs.replace(delivery, why="retry", not_before=not_before)
                shelf.put(delivery.id.encode(), parked.encode())
            count += len(records)
            self._outlets.seal(settle_all(receipts))
        if count:
            logger.warning(
                "%s deliveries are parked because the topic %s is missing.",
                count,
                self._prefix + outlet.topic,
                extra={"action": "park", "topic": self._prefix + outlet.topic},
            )


def _forget(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()  # or the event loop complains that it was never retrieved
