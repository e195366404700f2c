"""The way out of an agent, on a real broker: order, missing topics, records that the broker refuses, broken clients."""

import asyncio
import json
from dataclasses import replace

import msgspec
import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from notifier.dead_letter import DeadLetter
from notifier.delivery import Delivery
from notifier.kafka import ensure_topics
from notifier.settings import Settings
from notifier.topics import deliveries
from streams.outputs.outputs import Outbox, Outputs
from streams.outputs.partitioner import partition_of
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until


def delivery(number: int, content: str = "x") -> Delivery:
    return Delivery(
        id=f"ci/m{number}/c/room/*",
        configuration="c",
        configuration_version=1,
        consumer="room",
        lane=f"lane{number % 3}",
        message=msgspec.Raw(json.dumps({"producer": "ci", "content": content}).encode()),
        message_id=f"m{number}",
    )


def box(*items: Delivery, topic: str = "deliveries.room") -> Outbox:
    outbox = Outbox()
    for item in items:
        outbox.add(topic, item.lane.encode(), item.encode())
    return outbox


async def ids(settings: Settings, topic: str = "deliveries.room") -> list[str]:
    return [Delivery.decode(record.value).message_id for record in await read_all(settings, topic)]


async def test_what_was_sent_is_there_and_in_order_within_a_lane(settings: Settings) -> None:
    await ensure_topics(settings, [deliveries("room", partitions=3)])
    outputs = Outputs(settings)
    # More than one batch of 64 KiB for each partition.
    await outputs.send(box(*(delivery(number, "x" * 1000) for number in range(600))))
    await outputs.stop()
    for lane in range(3):
        found = [
            Delivery.decode(record.value).message_id
            for record in await read_all(settings, "deliveries.room")
            if record.key == f"lane{lane}".encode()
        ]
        assert found == [f"m{number}" for number in range(lane, 600, 3)]


async def test_a_record_larger_than_a_batch_is_sent_alone(settings: Settings) -> None:
    await ensure_topics(settings, [deliveries("room")])
    outputs = Outputs(settings)
    await outputs.send(box(delivery(0), delivery(1, "x" * 900_000), delivery(2)))
    await outputs.stop()
    assert await ids(settings) == ["m0", "m1", "m2"]


async def test_a_topic_of_the_table_is_created_when_it_is_needed(settings: Settings) -> None:
    outputs = Outputs(settings)
    outbox = Outbox()
    outbox.add("attempts", b"key", b"{}")
    await outputs.send(outbox)
    await outputs.stop()
    assert len(await read_all(settings, "attempts")) == 1


async def test_a_topic_that_comes_in_time_gets_its_records(settings: Settings) -> None:
    outputs = Outputs(settings, missing_wait_s=30)
    sending = asyncio.create_task(outputs.send(box(delivery(0), delivery(1))))
    await wait_until(lambda: outputs.outlet("deliveries.room").missing_since is not None)
    await ensure_topics(settings, [deliveries("room")])
    await sending
    await outputs.stop()
    assert await ids(settings) == ["m0", "m1"]
    assert await read_all(settings, "parked") == []


async def test_a_topic_that_is_missing_too_long_holds_up_only_its_own(settings: Settings) -> None:
    await ensure_topics(settings, [deliveries("file")])
    outputs = Outputs(settings, missing_wait_s=1)
    outbox = box(delivery(0), delivery(1))
    outbox.add("deliveries.file", b"file", delivery(2).encode())
    sending = asyncio.create_task(outputs.send(outbox))
    await wait_for_records(settings, "deliveries.file", 1)
    await sending
    parked = [Delivery.decode(record.value) for record in await read_all(settings, "parked")]
    assert [(item.message_id, item.why, item.attempt) for item in parked] == [("m0", "retry", 1), ("m1", "retry", 1)]
    assert all(item.not_before is not None for item in parked)
    await ensure_topics(settings, [deliveries("room")])
    await outputs.send(box(delivery(3)))
    await outputs.stop()
    assert await ids(settings) == ["m3"]


async def test_a_record_that_the_broker_refuses_is_a_dead_letter_and_the_others_go_on(settings: Settings) -> None:
    await ensure_topics(settings, [replace(deliveries("room"), max_message_bytes=20_000)])
    outputs = Outputs(settings)
    await outputs.send(box(delivery(0), delivery(1, "x" * 30_000), delivery(2), delivery(3, "x" * 40_000), delivery(4)))
    await outputs.send(box(delivery(5)))
    await outputs.stop()
    assert await ids(settings) == ["m0", "m2", "m4", "m5"]
    letters = [DeadLetter.decode(record.value) for record in await read_all(settings, "dead_letters")]
    assert sorted((letter.id, letter.reason, letter.delivery) for letter in letters) == [
        ("ci/m1/c/room/*", "too_large", "ci/m1/c/room/*"),
        ("ci/m3/c/room/*", "too_large", "ci/m3/c/room/*"),
    ]


async def test_a_sender_whose_numbers_the_broker_does_not_expect_is_replaced(settings: Settings) -> None:
    await ensure_topics(settings, [deliveries("room", partitions=1)])
    outputs = Outputs(settings)
    await outputs.send(box(delivery(0)))
    before = outputs._connection.producer
    assert before is not None
    before._sequences[settings.topic_prefix + "deliveries.room", 0] += 7
    await outputs.send(box(delivery(1)))
    assert outputs._connection.producer is not before
    await outputs.stop()
    assert await ids(settings) == ["m0", "m1"]


async def test_nothing_to_send_needs_no_broker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.outputs.connection.BatchProducer", None)  # making one fails
    outputs = Outputs(settings)
    await outputs.send(Outbox())
    await outputs.stop()


@given(key=st.binary(max_size=80), partitions=st.integers(1, 1000))
def test_a_key_has_the_partition_that_other_clients_give_it(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions
