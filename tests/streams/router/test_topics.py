"""What becomes of deliveries whose topic is missing or has got more partitions."""

import json

from aiokafka.admin import NewPartitions

from notifier.kafka import ensure_topics, kafka_admin
from notifier.settings import Settings
from notifier.topics import PARKED, deliveries
from tests.rigs.kafka_tools import produce, read_all, wait_for_records, wait_until
from tests.rigs.router_rig import (
    SIMPLE,
    delete_topic,
    publish,
    routers,
    through,
    write_messages,
)


async def test_a_topic_that_is_missing_for_a_moment_gets_its_deliveries(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with routers(settings) as (router,):
        await write_messages(settings, [{"producer": "ci", "id": "before", "content": "x"}])
        await wait_for_records(settings, "deliveries.room", 1)
        await delete_topic(settings, "deliveries.room")
        await write_messages(settings, [{"producer": "ci", "id": f"m{number}", "content": "x"} for number in range(20)])
        await wait_until(lambda: "retrying" in router.output() or "is missing" in router.output())
        await ensure_topics(settings, [deliveries("room")])
        records = await wait_for_records(settings, "deliveries.room", 20)
        assert list(dict.fromkeys(json.loads(record.value)["message_id"] for record in records)) == [
            f"m{number}" for number in range(20)
        ]
        assert await router.end() == 0
    assert await read_all(settings, PARKED.name) == []


async def test_a_missing_topic_parks_its_deliveries_and_stops_nothing_else(settings: Settings) -> None:
    await publish(settings, {**SIMPLE, "consumer/file": {"type": "file"},
                             "configuration/d": through("file")})  # fmt: skip
    await delete_topic(settings, "deliveries.room")
    async with routers(settings, command=["tests.rigs.router_rig", "2"]):
        await write_messages(settings, [{"producer": "ci", "id": f"m{number}", "content": "x"} for number in range(3)])
        await wait_for_records(settings, "deliveries.file", 3)
        parked = await wait_for_records(settings, PARKED.name, 3)
        # From now on nobody waits for it.
        await write_messages(settings, [{"producer": "ci", "id": "later", "content": "x"}], partition=1)
        parked = await wait_for_records(settings, PARKED.name, 4)
        await wait_for_records(settings, "deliveries.file", 4)
        await ensure_topics(settings, [deliveries("room")])
        await write_messages(settings, [{"producer": "ci", "id": "back", "content": "x"}], partition=1)
        (record,) = await wait_for_records(settings, "deliveries.room", 1)
        assert json.loads(record.value)["message_id"] == "back"
    for record in parked:
        said = json.loads(record.value)
        assert record.key is not None
        assert (said["id"], said["why"], said.get("attempt", 1)) == (record.key.decode(), "retry", 1)
        assert "not_before" in said


async def test_a_topic_that_got_more_partitions_is_written_to_in_all(settings: Settings) -> None:
    await publish(settings, {"producer/hub": {"type": "push"}, "consumer/direct": {"type": "direct"},
                             **{f"user/u{number}": {"additional_info": {"chat": {"id": number}}} for number in range(20)},
                             "configuration/c": through("direct", producers=["hub"])})  # fmt: skip
    async with kafka_admin(settings) as admin:
        await admin.create_partitions({settings.topic_prefix + "deliveries.direct": NewPartitions(total_count=4)})
    messages = [{"producer": "hub", "receiver": f"u{number}", "content": "x"} for number in range(20)]
    await write_messages(settings, messages)
    async with routers(settings):
        records = await wait_for_records(settings, "deliveries.direct", 20)
    assert len({record.partition for record in records}) > 1
    # As every other writer with the same key: the default partitioner of aiokafka and of Kafka's own client.
    other = (await produce(settings, "deliveries.direct", [b"{}"], key="7"))[0]
    assert {record.partition for record in records if record.key == b"7"} == {other.partition}
