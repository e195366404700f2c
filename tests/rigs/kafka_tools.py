"""Writing, reading and waiting on the tests' broker. Topics are named without the prefix of the settings."""

import asyncio
import inspect
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.structs import RecordMetadata

from notifier.kafka import ensure_topics, kafka_producer
from notifier.settings import Settings
from notifier.topics import DELIVERIES, TOPICS, Topic, deliveries
from tests.rigs.standing_clients import Asking, Clients, asked, asked_at_once

WAIT_S = 120.0  # generous: a busy machine is slow, and only a test that fails waits so long
_ENDING_S = 2.0  # for a transaction that is being ended; one that a test leaves open is looked at for as long


async def create_topic(settings: Settings, topic: str) -> None:
    """Creates a topic as the table says; one that is not in it gets one partition."""
    row = next((row for row in TOPICS if row.name == topic), None)
    if row is None and topic.startswith(DELIVERIES):
        row = deliveries(topic.removeprefix(DELIVERIES))
    if row is None:
        row = Topic(name=topic, key="", value="", partitions=1, retention_ms=None)
    await ensure_topics(settings, [row])


async def produce(
    settings: Settings,
    topic: str,
    values: Iterable[bytes | str | Mapping[str, Any] | None],
    key: bytes | str | None = None,
    partition: int | None = None,
) -> list[RecordMetadata]:
    """Writes records in order, all with one key, and returns when the broker has them; creates the topic if need be.

    Text is written as UTF-8, a mapping as JSON, None as a tombstone.
    """
    await create_topic(settings, topic)
    name = settings.topic_prefix + topic
    raw_key = key.encode() if isinstance(key, str) else key
    async with kafka_producer(settings) as producer:
        sent = [await producer.send(name, _raw(value), key=raw_key, partition=partition) for value in values]
        return list(await asyncio.gather(*sent))


def _raw(value: bytes | str | Mapping[str, Any] | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


async def read_all(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """The records that are committed on the topic now, by time and then by partition; none when there is no such topic."""
    name = settings.topic_prefix + topic

    async def read(clients: Clients) -> list[ConsumerRecord]:
        consumer = clients.consumer
        (described,) = await clients.admin.describe_topics([name])
        partitions = [TopicPartition(name, partition["partition"]) for partition in described["partitions"]]
        if not partitions:
            return []
        records: list[ConsumerRecord] = []
        consumer.assign(partitions)
        ends = await _committed_ends(clients, partitions)
        await consumer.seek_to_beginning(*partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                records += batch
        # Fetches no more, and looks for the partitions no more when they are deleted. aiokafka's own `unsubscribe` would also
        # ask for the metadata of every topic.
        consumer._subscription.unsubscribe()
        return records

    return sorted(await asked(settings, read), key=lambda record: (record.timestamp, record.partition, record.offset))


async def _committed_ends(clients: Clients, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """The ends of what is committed. A transaction that its writer knows to be committed is so some milliseconds later."""
    written = await clients.uncommitted.end_offsets(partitions)
    deadline = time.monotonic() + _ENDING_S
    while True:
        ends: dict[TopicPartition, int] = await clients.consumer.end_offsets(partitions)
        if all(ends[partition] >= end for partition, end in written.items()) or time.monotonic() > deadline:
            return ends
        await asyncio.sleep(0.02)


async def wait_for_records(
    settings: Settings, topic: str, count: int, timeout_s: float = WAIT_S
) -> list[ConsumerRecord]:
    """All records of the topic, as soon as there are at least `count`."""
    seen: list[ConsumerRecord] = []

    async def enough() -> bool:
        nonlocal seen
        seen = await read_all(settings, topic)
        return len(seen) >= count

    await wait_until(
        enough, timeout_s, lambda: f"{topic} has {len(seen)} records of {count}: {[r.value for r in seen[-5:]]}"
    )
    return seen


async def wait_until(
    condition: Callable[[], Any], timeout_s: float = WAIT_S, otherwise: Callable[[], str] | str = ""
) -> Any:
    """What the condition, a function or coroutine function, gives as soon as that is true. Fails with `otherwise`."""
    deadline = time.monotonic() + timeout_s
    while True:
        asked_at = time.monotonic()
        outcome = condition()
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome:
            return outcome
        if time.monotonic() > deadline:
            why = otherwise() if callable(otherwise) else otherwise or inspect.getsource(condition).strip()
            raise AssertionError(f"not within {timeout_s} s: {why}")
        # To look costs something too: at most half of the time is spent on it, so that what is waited for gets on.
        await asyncio.sleep(max(0.05, time.monotonic() - asked_at))


async def delete_topics(settings: Settings) -> None:
    """Deletes every topic whose name begins with the prefix of the settings."""
    await asked(settings, _delete(settings.topic_prefix))


def delete_topics_at_once(settings: Settings) -> None:
    """The same where no event loop runs, on the broker that all tests share."""
    asked_at_once(settings, _delete(settings.topic_prefix))


def _delete(prefix: str) -> Asking[None]:
    async def delete(clients: Clients) -> None:
        clients.consumer._client.set_topics(
            []
        )  # else it would complain of the topic that was read last, in the next tests' log
        mine = [name for name in await clients.admin.list_topics() if name.startswith(prefix)]
        if mine:
            await clients.admin.delete_topics(mine)

    return delete
