"""Past sends: what other workers sent with a credential just before this one got it, as the topic `attempts` says.

Windows that are short need not know (`streams.delivery.pace`). Of a text that went in parts one send is known.
"""

import logging
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.errors import RecordError
from notifier.kafka import kafka_consumer
from notifier.plugin import Consumer
from notifier.record import Record, Time, now
from notifier.settings import Settings
from notifier.topics import ATTEMPTS
from streams.delivery.pacing import Pacing, address_of, credential_of, limits_of

logger = logging.getLogger(__name__)

LOOK_BACK = timedelta(seconds=90)  # no limit of a service that is known to us looks back for longer than a minute
_MAY_COUNT = frozenset({"accepted", "unknown"})


class _Sent(Record, frozen=True, kw_only=True):
    """What is needed of an Attempt."""

    consumer: str = ""
    recipient: str | None = None
    outcome: str = ""
    ended_at: Time | None = None


async def recall(settings: Settings, pacing: Pacing, consumers: Collection[str], catalog: Catalog) -> None:
    """Counts the past sends with the credentials of these consumers, where this worker has sent nothing with them yet."""
    credentials = {
        credential
        for name in consumers
        if (instance := catalog.consumers.get(name)) is not None
        and (credential := credential_of(instance)) is not None
        and pacing.is_new(credential)
    }
    if not credentials:
        return
    instances = {
        name: (instance, credential)
        for name, instance in catalog.consumers.items()
        if (credential := credential_of(instance)) in credentials and credential is not None
    }
    for credential in credentials:
        pacing.begin(credential)
    try:
        for sent in await _read(settings, instances):
            instance, credential = instances[sent.consumer]
            assert sent.ended_at is not None
            ago_s = max(0.0, (now() - sent.ended_at).total_seconds())
            pacing.count(credential, limits_of(instance, _delivery(sent, instance, catalog)), time.monotonic() - ago_s)
    except (KafkaError, OSError) as error:  # what the service answers counts in any case
        logger.warning(
            "What was sent in the last minute is not known: %s: %s",
            type(error).__name__,
            error,
            extra={"action": "recall"},
        )


async def _read(settings: Settings, consumers: Mapping[str, Any]) -> list[_Sent]:
    topic = settings.topic_prefix + ATTEMPTS.name
    found: list[_Sent] = []
    since = now() - LOOK_BACK
    async with kafka_consumer(settings, isolation_level="read_uncommitted") as kafka:
        numbers = kafka.partitions_for_topic(topic) or range(ATTEMPTS.partitions)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        kafka.assign(partitions)
        ends = await kafka.end_offsets(partitions)
        starts = await kafka.offsets_for_times(dict.fromkeys(partitions, int(since.timestamp() * 1000)))
        left = {partition for partition in partitions if starts.get(partition) is not None}
        if left:
            kafka.assign(list(left))
        for partition in left:
            kafka.seek(partition, starts[partition].offset)
        while left:
            for records in (await kafka.getmany(timeout_ms=200)).values():
                for record in records:
                    try:
                        sent = _Sent.decode(record.value or b"{}")
                    except RecordError:  # of a newer version, too: what the service answers counts in any case
                        continue
                    if sent.outcome in _MAY_COUNT and sent.consumer in consumers and sent.ended_at is not None:
                        found.append(sent)
            left = {partition for partition in left if await kafka.position(partition) < ends[partition]}
    return [sent for sent in found if sent.ended_at is not None and sent.ended_at > since]


def _delivery(sent: _Sent, instance: Consumer[Any], catalog: Catalog) -> Delivery:
    """A delivery that is as good as the one that was sent, for the limits that it counts for."""
    address = address_of(instance, catalog.users.get(sent.recipient or ""))
    return Delivery(
        id="",
        configuration="",
        configuration_version=1,
        consumer=sent.consumer,
        lane=address or sent.consumer,
        message=msgspec.Raw(b"{}"),
        message_id="",
        recipient=sent.recipient,
        address=address,
    )
