"""The way out of an agent, on a real broker: order, records that the broker refuses, broken batch producers."""

import asyncio
from dataclasses import replace

import pytest

from notifier.dead_letter import DeadLetter
from notifier.delivery import Delivery
from notifier.kafka import ensure_topics
from notifier.settings import Settings
from notifier.topics import deliveries
from streams.outputs.outputs import Outbox, Outputs
from tests.rigs.kafka_tools import read_all
from tests.rigs.room_deliveries import box, delivery, message_ids


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
    assert await message_ids(settings) == ["m0", "m1", "m2"]


async def test_a_record_that_the_broker_refuses_is_a_dead_letter_and_the_others_go_on(settings: Settings) -> None:
    await ensure_topics(settings, [replace(deliveries("room"), max_message_bytes=20_000)])
    outputs = Outputs(settings)
    await outputs.send(box(delivery(0), delivery(1, "x" * 30_000), delivery(2), delivery(3, "x" * 40_000), delivery(4)))
    await outputs.send(box(delivery(5)))
    await outputs.stop()
    assert await message_ids(settings) == ["m0", "m2", "m4", "m5"]
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
    assert await message_ids(settings) == ["m0", "m1"]


async def test_nothing_to_send_needs_no_broker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.outputs.connection.BatchProducer", None)  # making one fails
    outputs = Outputs(settings)
    await outputs.send(Outbox())
    await outputs.stop()


async def test_records_have_the_headers_of_their_outlet(settings: Settings) -> None:
    await ensure_topics(settings, [deliveries("room", partitions=2)])
    outputs = Outputs(settings)
    marked = (("settled", b"1"), ("spared", b"0"))
    outputs.outlet("deliveries.room").put(b"a", b"0")
    outputs.outlet("deliveries.room", marked).put_all([b"a", b"b", b"c"], [b"1", b"2", b"3"])
    acknowledged = asyncio.Event()
    outputs.seal(acknowledged.set)
    await acknowledged.wait()
    await outputs.stop()
    found = {record.value: tuple(record.headers) for record in await read_all(settings, "deliveries.room")}
    assert found == {b"0": (), b"1": marked, b"2": marked, b"3": marked}
