"""Topics that are missing when records are written: made, waited for, or given up for a while. On a real broker."""

import asyncio

from notifier.delivery import Delivery
from notifier.kafka import ensure_topics
from notifier.settings import Settings
from notifier.topics import deliveries
from streams.outputs.outputs import Outbox, Outputs
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until
from tests.rigs.room_deliveries import box, delivery, message_ids


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
    assert await message_ids(settings) == ["m0", "m1"]
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
    # In any order: their ids lead them to two partitions.
    told = sorted((item.message_id, item.why, item.attempt) for item in parked)
    assert told == [("m0", "retry", 1), ("m1", "retry", 1)]
    assert all(item.not_before is not None for item in parked)
    await ensure_topics(settings, [deliveries("room")])
    await outputs.send(box(delivery(3)))
    await outputs.stop()
    assert await message_ids(settings) == ["m3"]
