"""Tickets: short names of deliveries, by which they are found again when somebody answers them.

A ticket is the place of the delivery's record, `<digest of the consumer>.<partition>.<offset>`: whatever the ids are, it is short
enough for a button. It holds for as long as the topic keeps the record. A table of what was sent, the way that lost, would have
to be written before each send and kept for as long.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from notifier.delivery import Delivery
from notifier.errors import RecordError
from notifier.kafka import kafka_consumer
from notifier.settings import Settings
from notifier.topics import DELIVERIES
from streams.delivery.lanes import Pending

_TICKET = re.compile(r"([0-9a-f]{8})\.([0-9a-f]{1,4})\.([0-9a-f]{1,16})")
_READ_S = 5.0
_LOOK_S = 0.02
_POLL_MS = 200


def ticket_of(consumer: str, partition: int, offset: int) -> str:
    """The ticket of a record on the topic of a consumer."""
    return f"{_digest(consumer)}.{partition:x}.{offset:x}"


def ticketing(place: TopicPartition, front: Sequence[Pending]) -> Callable[[Delivery], str | None]:
    """What makes the tickets of deliveries of a partition; None for another delivery."""

    def ticket(delivery: Delivery) -> str | None:
        for pending in front:
            if pending.delivery is not None and pending.delivery.id == delivery.id:
                return ticket_of(place.topic.rpartition(DELIVERIES)[2], place.partition, pending.offset)
        return None

    return ticket


async def delivery_of(settings: Settings, ticket: str, consumers: Iterable[str]) -> Delivery | None:
    """The delivery that one of these consumers was given a ticket for; None where there is none. Raises KafkaError, OSError."""
    found = _TICKET.fullmatch(ticket)
    consumer = None if found is None else next((name for name in consumers if _digest(name) == found[1]), None)
    if found is None or consumer is None:
        return None
    place = TopicPartition(f"{settings.topic_prefix}{DELIVERIES}{consumer}", int(found[2], 16))
    async with kafka_consumer(settings) as kafka:
        try:
            async with asyncio.timeout(_READ_S):
                value = await _read(kafka, place, int(found[3], 16))
        except TimeoutError:
            raise KafkaError(f"no answer within {_READ_S:g} s") from None
    try:
        return None if value is None else Delivery.decode(value)
    except RecordError:
        return None


async def _read(kafka: AIOKafkaConsumer, place: TopicPartition, offset: int) -> bytes | None:
    kafka.assign([place])
    while not (partitions := kafka.partitions_for_topic(place.topic)):  # noqa: ASYNC110 - aiokafka has no event for it
        await asyncio.sleep(_LOOK_S)  # its metadata is on the way
    if place.partition not in partitions:
        return None
    first = (await kafka.beginning_offsets([place]))[place]
    end = (await kafka.end_offsets([place]))[place]
    if not first <= offset < end:
        return None
    kafka.seek(place, offset)
    while True:
        for record in (await kafka.getmany(place, timeout_ms=_POLL_MS, max_records=1)).get(place, []):
            value: bytes | None = record.value
            return value if record.offset == offset else None
        if await kafka.position(place) > offset:  # it is the end of a transaction, which nobody is given
            return None


def _digest(consumer: str) -> str:
    return hashlib.sha256(consumer.encode()).hexdigest()[:8]
