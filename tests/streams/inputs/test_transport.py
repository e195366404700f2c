"""The batch transport on a real broker. Each fault of Faust's that it cures is shown with Faust's own transport first."""

import asyncio

import pytest
from aiokafka import TopicPartition

from notifier.kafka import ensure_topics, kafka_admin, kafka_producer
from notifier.settings import Settings
from notifier.topics import Topic, deliveries
from streams.app import create_app
from tests.rigs.faust_rig import TP, OurTransport, Rig, StockTransport
from tests.rigs.kafka_tools import produce, wait_for_records, wait_until
from tests.rigs.router_rig import REGISTRY, publish, through, write_messages

TRANSPORTS = [pytest.param(StockTransport, False, id="faust"), pytest.param(OurTransport, True, id="ours")]


async def make_topic(settings: Settings, name: str, partitions: int = 1) -> None:
    await ensure_topics(
        settings,
        [
            Topic(
                name=name, key="", value="", partitions=partitions, retention_ms=None, max_message_bytes=4 * 1024 * 1024
            )
        ],
    )


@pytest.mark.parametrize(("transport", "cured"), TRANSPORTS)
async def test_what_was_finished_before_a_rebalance_is_committed_in_it(
    settings: Settings, transport: type, cured: bool
) -> None:
    await make_topic(settings, "work")
    await produce(settings, "work", [b"x"] * 20, partition=0)
    # No commit by the clock within this test: what is committed, the rebalance has committed.
    rig = Rig(settings, "work", transport, broker_commit_interval=600.0)
    async with rig.running():
        await wait_until(lambda: len(rig.seen) >= 20)
        assert await rig.committed() is None
        before = rig.app.rebalancing_count
        async with rig.member():
            await wait_until(lambda: rig.app.rebalancing_count > before and not rig.app.rebalancing)
            # Whoever has the partition now begins at what is committed.
            assert (await rig.committed() == 20) is cured


@pytest.mark.parametrize(("transport", "cured"), TRANSPORTS)
async def test_a_batch_at_work_is_not_committed_past(settings: Settings, transport: type, cured: bool) -> None:
    await make_topic(settings, "work")
    await produce(settings, "work", [b"x"] * 5, partition=0)
    rig = Rig(settings, "work", transport, batch_records=1)  # and two actors: the others pass the one that is held
    rig.hold[0, 0] = asyncio.Event()
    async with rig.running():
        expected = 4 if not cured else 3  # ours hands over no more than it may hold open
        await wait_until(lambda: len(rig.seen) >= expected)
        await rig.consumer.commit()
        assert (await rig.committed() in (None, 0)) is cured
        rig.hold[0, 0].set()
        await wait_until(lambda: len(rig.seen) == 5)
        await rig.consumer.commit()
        await wait_until(lambda: rig.committed_is(5))


@pytest.mark.parametrize(("transport", "cured"), TRANSPORTS)
async def test_what_arrives_while_the_flow_is_stopped_is_read_again(
    settings: Settings, transport: type, cured: bool
) -> None:
    await make_topic(settings, "work")
    rig = Rig(settings, "work", transport)
    async with rig.running():
        await wait_until(lambda: TP(rig.topic, 0) in rig.consumer._get_active_partitions() and rig.consumer.flow_active)
        rig.consumer.wait_s = 30.0  # the records below come while it waits, however slow the machine is
        rig.consumer.fetching.clear()
        await rig.consumer.fetching.wait()
        await asyncio.sleep(0.5)  # the fetch begins a moment later, in another thread
        rig.consumer.stop_flow()
        await produce(settings, "work", [b"first", b"second"], partition=0)
        await wait_until(lambda: not rig.consumer.fetching.is_set())
        rig.consumer.wait_s = 0.0
        await asyncio.sleep(0.5)  # what is lost is lost by now; what is not is not read either, as the flow stands
        assert rig.seen == []
        rig.consumer.resume_flow()
        await produce(settings, "work", [b"third"], partition=0)
        await wait_until(lambda: (0, 2) in rig.seen)
        assert (rig.seen == [(0, 0), (0, 1), (0, 2)]) is cured


async def test_an_event_is_a_batch_of_one_partition_and_no_larger_than_allowed(settings: Settings) -> None:
    await make_topic(settings, "work", partitions=2)
    for partition in (0, 1):
        await produce(settings, "work", [b"x"] * 700, partition=partition)
    rig = Rig(settings, "work", OurTransport, batch_records=300)
    async with rig.running():
        await wait_until(lambda: len(rig.seen) == 1400)
        for partition in (0, 1):
            assert [offset for number, offset in rig.seen if number == partition] == list(range(700))
        assert max(rig.batches) <= 300
        assert len(rig.batches) < 100
        await wait_until(lambda: rig.committed_is(700))
    assert await rig.committed(1) == 700


async def test_a_record_of_4_mib_passes(settings: Settings) -> None:
    await make_topic(settings, "work")
    large = b"x" * (4 * 1024 * 1024 - 200)
    async with kafka_producer(settings, max_request_size=5_000_000) as producer:
        for value in (b"small", large, b"small"):
            await producer.send_and_wait(settings.topic_prefix + "work", value, partition=0)
    rig = Rig(settings, "work", OurTransport)
    async with rig.running():
        await wait_until(lambda: len(rig.seen) == 3)


async def test_a_batch_at_work_is_finished_before_its_partition_goes(settings: Settings) -> None:
    await make_topic(settings, "work", partitions=2)
    await produce(settings, "work", [b"x"] * 10, partition=0)
    rig = Rig(settings, "work", OurTransport)
    rig.hold[0, 5] = asyncio.Event()
    async with rig.running():
        await wait_until(lambda: (0, 5) in rig.begun)
        async with rig.member() as other:
            await wait_until(lambda: rig.app.rebalancing)
            await asyncio.sleep(0.5)
            assert not other.assignment()  # the group waits for the batch
            rig.hold[0, 5].set()
            await wait_until(lambda: not rig.app.rebalancing and other.assignment())
            assert await rig.committed() == 10
            assert rig.seen == [(0, offset) for offset in range(10)]


async def test_a_batch_that_does_not_end_is_left_to_the_next_owner(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.inputs.transport.FINISH_S", 0.5)
    await make_topic(settings, "work", partitions=2)
    for partition in (0, 1):
        await produce(settings, "work", [b"x"] * 3, partition=partition)
    rig = Rig(settings, "work", OurTransport)
    rig.hold = {(partition, 1): asyncio.Event() for partition in (0, 1)}
    async with rig.running():
        await wait_until(lambda: len(rig.begun) >= 2)
        async with rig.member() as other:
            await wait_until(lambda: other.assignment())
            (mine,) = other.assignment()
            read: list[int] = []
            while len(read) < 3:
                for batch in (await other.getmany(timeout_ms=200)).values():
                    read += [record.offset for record in batch]
            assert read == [0, 1, 2]
            assert await rig.committed(mine.partition) is None
            for event in rig.hold.values():
                event.set()
            await wait_until(lambda: rig.committed_is(3, 1 - mine.partition))
            assert await rig.committed(mine.partition) is None


@pytest.mark.parametrize("crashed", [False, True], ids=["stopped", "crashed"])
async def test_a_batch_that_the_end_cuts_off_is_not_committed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, crashed: bool
) -> None:
    monkeypatch.setattr("streams.inputs.transport.FINISH_S", 0.5)
    await make_topic(settings, "work")
    await produce(settings, "work", [b"x"] * 3, partition=0)
    rig = Rig(settings, "work", OurTransport)
    rig.hold[0, 1] = asyncio.Event()
    await rig.app.start()
    await wait_until(lambda: (0, 1) in rig.begun)
    if crashed:
        await rig.app.crash(RuntimeError("as when its stream stands still"))
    await rig.app.stop()
    assert rig.seen == [(0, 0)]
    assert await rig.committed() is None


async def test_a_commit_that_fails_is_tried_again(settings: Settings) -> None:
    await make_topic(settings, "work")
    rig = Rig(settings, "work", OurTransport, broker_commit_interval=0.1)
    async with rig.running():
        thread = rig.consumer._thread
        commit, refused = thread._commit, 0

        async def refuse(offsets: object) -> bool:
            nonlocal refused
            refused += 1
            return False

        thread._commit = refuse
        await produce(settings, "work", [b"x"] * 3, partition=0)
        await wait_until(lambda: len(rig.seen) == 3 and refused >= 2)
        thread._commit = commit
        await wait_until(lambda: rig.committed_is(3))


async def test_progress_is_known_by_partition(settings: Settings) -> None:
    await make_topic(settings, "work")
    await produce(settings, "work", [b"x"] * 3, partition=0)
    rig = Rig(settings, "work", OurTransport)
    async with rig.running():
        await wait_until(lambda: rig.consumer.progress() == {(rig.topic, 0): (3, 3)})


async def test_the_monitor_counts_records(settings: Settings) -> None:
    await publish(settings, {"producer/ci": {"type": "push"}})
    await write_messages(settings, [{"producer": "ci", "content": "x"}] * 30)
    app = create_app(settings, ["router"], REGISTRY)
    await app.start()
    try:
        await wait_until(lambda: app.monitor.messages_received_total == 30 and app.monitor.messages_active == 0)
        assert app.monitor.events_total == 30
        assert app.monitor.messages_received_by_topic[settings.topic_prefix + "messages"] == 30
        partition = TP(settings.topic_prefix + "messages", 0)
        assert app.monitor.tp_read_offsets[partition] == 29
        await wait_until(lambda: app.consumer.highwater(partition) == 30)
    finally:
        await app.stop()


async def test_a_batch_is_committed_when_its_outputs_are_acknowledged_and_the_next_is_judged_before(
    settings: Settings,
) -> None:
    """Nobody has made the consumer's topic, so what is routed to it waits; what comes later is judged all the same."""
    await publish(
        settings,
        {
            "producer/ci": {"type": "push"},
            "consumer/room": {"type": "room"},
            "configuration/c": through("room"),
        },
    )
    async with kafka_admin(settings) as admin:
        await admin.delete_topics([settings.topic_prefix + "deliveries.room"])
    app = create_app(settings, ["router"], REGISTRY)
    await app.start()
    try:
        for number in range(3):
            await write_messages(settings, [{"producer": "ci", "content": "x"}])
            await wait_until(lambda number=number: app.monitor.messages_received_total == number + 1)  # type: ignore[misc]
        assert app.monitor.messages_active == 3
        await app.consumer.commit()
        assert app.consumer._committed_offset[TP(settings.topic_prefix + "messages", 0)] in (None, 0)
        await ensure_topics(settings, [deliveries("room")])
        await wait_until(lambda: app.monitor.messages_active == 0)
        assert len(await wait_for_records(settings, "deliveries.room", 3)) == 3
    finally:
        await app.stop()


async def test_the_marks_of_transactions_are_no_standstill(settings: Settings) -> None:
    """A push is a transaction; its marks, and records that were taken back, have offsets that nobody is given."""
    await make_topic(settings, "work")
    rig = Rig(settings, "work", OurTransport)
    async with rig.running(), kafka_producer(settings, transactional_id=settings.topic_prefix + "push") as client:
        async with client.transaction():
            await client.send_and_wait(rig.topic, b"kept", partition=0)
        await client.begin_transaction()
        await client.send_and_wait(rig.topic, b"taken back", partition=0)
        await client.abort_transaction()
        await wait_until(
            lambda: rig.consumer.progress() == {(rig.topic, 0): (4, 4)}, 30, lambda: rig.consumer.progress()
        )
        assert rig.seen == [(0, 0)]


def test_topic_partitions_of_both_libraries_are_told_apart_by_nobody() -> None:
    assert TP("work", 0) == TopicPartition("work", 0)
