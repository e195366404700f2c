"""The ledger on a real broker: what was done is known to the next worker and not done again."""

import shutil
import time
from typing import Any

import pytest
from aiokafka import TopicPartition

from notifier.attempt import Origin
from notifier.kafka import ensure_topics, kafka_consumer, kafka_producer
from notifier.record import now
from notifier.settings import Settings
from notifier.status import Status
from notifier.topics import ATTEMPTS, deliveries
from streams.delivery.ledger import Ledgers
from streams.delivery.recording import Note, Recording, Try, attempt_of
from streams.outputs.outputs import Outputs
from streams.writer import Writer
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
    define,
    define_sink,
    make,
    parked,
    saw,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.router_rig import delete_topic, publish, routers, through, write_messages


@pytest.mark.predecessor("S-32")
async def test_an_id_that_was_accepted_is_not_sent_again(settings: Settings) -> None:
    path = await define_sink(settings)
    await send(settings, [make("0"), make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, reason="duplicate")
    await send(settings, [make("0")])
    async with working(settings):  # another worker, which knows it from `attempts`
        found = await wait_for_attempts(settings, 2, reason="duplicate")
    assert [a.outcome for a in found] == ["accepted", "suppressed", "suppressed"]
    assert len(seen(path)) == 1


async def test_the_same_id_is_not_sent_again_after_23_hours_and_a_restart_of_everything(settings: Settings) -> None:
    path = await define_sink(settings)
    yesterday = make("1", number=1)
    tried = Try(outcome="accepted", reason="ok", number=1)
    value = attempt_of(yesterday, tried, Origin(topic=f"{settings.topic_prefix}deliveries.sink", partition=0, offset=9))
    await ensure_topics(settings, [ATTEMPTS])
    async with kafka_producer(settings) as producer:  # by a worker of another machine
        at = int((time.time() - 23 * 3600) * 1000)
        await producer.send_and_wait(settings.topic_prefix + ATTEMPTS.name, value.encode(), timestamp_ms=at, key=b"k")
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 2, outcome="accepted")
    for count, has_file in ((2, True), (4, False)):
        if not has_file:  # as on a new machine
            shutil.rmtree(settings.data_dir / "ledger")
        await send(settings, [make("0"), yesterday])
        async with working(settings, ledgers=Ledgers(settings, lambda: time.time() + 23 * 3600, kept=1)):
            await wait_for_attempts(settings, count, reason="duplicate")
    assert [line["content"] for line in seen(path)] == ["0"]


async def test_a_damaged_file_is_read_again_and_said_in_the_status(settings: Settings) -> None:
    path = await define_sink(settings)
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="accepted")
    (settings.data_dir / "ledger" / "0.sqlite3").write_bytes(b"x" * 10_000)
    await send(settings, [make("0")])

    async def is_said() -> bool:
        states = [Status.decode(record.value) for record in await read_all(settings, "status") if record.value]
        return any(status.state == "ready" and "damaged" in (status.detail or "") for status in states)

    async with working(settings):
        await wait_for_attempts(settings, 1, reason="duplicate")
        await wait_until(is_said)
    assert len(seen(path)) == 1


async def test_a_deleted_consumer_that_comes_back_is_not_sent_the_same_again(settings: Settings) -> None:
    path = await define_sink(settings)
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="accepted")
    await delete_topic(settings, "deliveries.sink")
    await define(settings, "sink", None, revision=2)
    await ensure_topics(settings, [deliveries("sink", 3)])
    again = {"type": "sink", "parameters": {"path": str(path), "partitions": 3}}
    await define(settings, "sink", again, revision=3)
    await send(settings, [make("1", number=1), make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, reason="duplicate")
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert [line["content"] for line in seen(path)] == ["0", "1"]


async def test_a_message_that_comes_again_is_not_delivered_again_though_its_consumers_have_another_order(
    settings: Settings,
) -> None:
    names = ("one", "two", "three")
    paths = {name: settings.data_dir / f"{name}.jsonl" for name in names}
    for path in paths.values():
        path.touch()
    specs: dict[str, Any] = {
        "producer/ci": {"type": "push"},
        "user/a": {"additional_info": {"default": {"username": "a"}}},
        **{f"consumer/{name}": {"type": "sink", "parameters": {"path": str(paths[name])}} for name in names},
        "configuration/c": through("one", "two", users=["a"]),
    }
    await publish(settings, specs)
    message = {"producer": "ci", "id": "m", "receiver": "a", "content": "m"}
    async with routers(settings, command=("tests.rigs.sink", "router")), working(settings):
        await write_messages(settings, [message])
        await wait_for_attempts(settings, 2, outcome="accepted")
        await publish(settings, {"configuration/c": through("three", "two", "one", users=["a"])}, revision=2)
        for number in range(1000):  # until the router has seen that
            await write_messages(settings, [{**message, "id": f"probe-{number}", "content": "probe"}])
            if seen(paths["three"]):
                break
        await write_messages(settings, [message])
        await wait_for_attempts(settings, 2, reason="duplicate")
        await wait_until(lambda: any(line["content"] == "m" for line in seen(paths["three"])))
    for name in names:
        assert [line["content"] for line in seen(paths[name])].count("m") == 1


async def test_what_is_recorded_but_not_committed_is_not_done_again(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(60.0,), lane_wait_s=0.0)
    path = await define_sink(settings, plan={"0": ["accept"], "1": ["refuse"], "2": ["fail"]})
    await send(settings, [make(str(n), number=n) for n in range(3)])
    async with working(settings):
        before = await wait_for_attempts(settings, 1, outcome="deferred")
    topic = TopicPartition(f"{settings.topic_prefix}deliveries.sink", 0)
    async with kafka_consumer(settings, group_id=settings.topic_prefix + "delivery") as kafka:
        kafka.assign([topic])
        await kafka.commit({topic: 0})  # as if the worker had died before its commit
    await send(settings, [make("3", number=3)])
    async with working(settings):
        await saw(path, 4)
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert len(await attempts(settings)) == len(before) + 1
    assert [line["content"] for line in seen(path)] == ["0", "1", "2", "3"]
    assert len(await dead_letters(settings)) == 1
    assert len(await parked(settings)) == 1


async def test_retries_go_on_where_the_worker_before_stopped(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(1.0, 1.0), lane_wait_s=60.0)
    path = await define_sink(settings, plan={"0": ["fail", "fail", "accept"]})
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
    async with working(settings):
        found = await wait_for_attempts(settings, 1, outcome="accepted")
    assert [a.number for a in found] == [1, 2, 3]
    assert [line["attempt"] for line in seen(path)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("answer", "written_by", "tries"),
    [
        pytest.param("limit 1", "this program", [1, 2, 3], id="spared"),
        pytest.param("limit", "this program", [1, 2], id="spent"),
        pytest.param("limit", "an older program", [1, 2, 3], id="spared by an older program"),
    ],
)
async def test_a_try_that_met_a_limit_counts_after_a_restart_as_it_did_before(
    settings: Settings, answer: str, written_by: str, tries: list[int]
) -> None:
    settings = with_(settings, retry_schedule_s=(0.1,), lane_wait_s=60.0)
    await define_sink(settings, plan={"0": [answer, "fail"]})
    delivery = make("0")
    await send(settings, [delivery])
    origin = Origin(topic=f"{settings.topic_prefix}deliveries.sink", partition=0, offset=0)
    tried = Try(outcome="deferred", reason="rate_limited", number=1, not_before=now(), spared=answer != "limit")
    await ensure_topics(settings, [ATTEMPTS])
    if written_by == "an older program":
        async with kafka_producer(settings) as producer:
            value = attempt_of(delivery, tried, origin).encode()
            await producer.send_and_wait(settings.topic_prefix + ATTEMPTS.name, value, key=delivery.id.encode())
    else:
        outputs = Outputs(settings)
        await Recording(Writer(settings), outputs).attempts([Note(delivery, tried, origin)])
        await outputs.stop()
    async with working(settings):
        found = await wait_for_attempts(settings, 1, outcome="refused")
    assert [a.number for a in found] == tries


async def test_a_record_with_a_time_to_come_hides_no_attempts(settings: Settings) -> None:
    path = await define_sink(settings)
    topic = TopicPartition(f"{settings.topic_prefix}deliveries.sink", 0)
    soon = int(time.time() * 1000) + 50 * 60 * 1000  # the broker takes an hour at most
    async with kafka_producer(settings) as producer:
        await producer.send_and_wait(topic.topic, make("0").encode(), key=b"a", timestamp_ms=soon)
    await send(settings, [make("1", number=1)])
    async with working(settings):
        await wait_for_attempts(settings, 2, outcome="accepted")
    async with kafka_consumer(settings, group_id=settings.topic_prefix + "delivery") as kafka:
        kafka.assign([topic])
        await kafka.commit({topic: 0})  # as if the worker had died before its commit
    await send(settings, [make("2", number=2)])
    async with working(settings):
        await wait_for_attempts(settings, 3, outcome="accepted")
    assert [line["content"] for line in seen(path)] == ["0", "1", "2"]
