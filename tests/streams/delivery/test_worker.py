"""The life of a delivery worker on a real broker: reading, committing and rebalances."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from notifier.catalog import Catalog
from notifier.errors import UnsupportedVersion
from notifier.sandbox import detect_sandbox
from notifier.settings import Settings
from streams.definitions import Definitions
from streams.delivery import worker
from streams.delivery.worker import DeliveryWorker, run_delivery
from tests.rigs.delivery_rig import (
    attempts,
    committed,
    define,
    define_sink,
    is_committed,
    make,
    saw,
    seen,
    send,
    wait_for_attempts,
    working,
)
from tests.rigs.kafka_tools import WAIT_S, wait_until
from tests.rigs.sink import REGISTRY


async def test_a_delivery_is_handed_over_recorded_and_then_committed(settings: Settings) -> None:
    path = await define_sink(settings)
    await send(settings, [make("hello")])
    async with working(settings):
        await saw(path, 1)
        (attempt,) = await wait_for_attempts(settings, 1, outcome="accepted")
        assert attempt.delivery == make("hello").id
        assert (attempt.number, attempt.reason, attempt.producer, attempt.consumer) == (1, "ok", "ci", "sink")
        assert (attempt.recipient, attempt.configuration, attempt.configuration_version) == ("a", "all", 1)
        assert attempt.origin is not None
        assert (attempt.origin.topic, attempt.origin.offset) == (f"{settings.topic_prefix}deliveries.sink", 0)
    assert await committed(settings) == {0: 1}


async def test_a_delivery_newer_than_the_program_stops_the_role(settings: Settings) -> None:
    await define_sink(settings)
    await send(settings, [make("0", v=2)])
    with pytest.raises(UnsupportedVersion, match="version 2 of Delivery"):
        await asyncio.wait_for(run_delivery(settings, stop=asyncio.Event(), registry=REGISTRY), 120)


async def test_a_new_consumer_is_found_with_its_first_messages(settings: Settings) -> None:
    await define_sink(settings, "first")
    async with working(settings):
        await asyncio.sleep(0)
        path = await define_sink(settings, "second")
        await send(settings, [make(str(n), consumer="second", number=n) for n in range(5)])
        assert [line["content"] for line in await saw(path, 5)] == list("01234")


async def test_a_long_call_outlives_a_rebalance_that_brings_its_partition_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "HUNG_S", 0.1)
    path = await define_sink(settings, plan={"0": ["gate"]}, timeout_s=600)
    await send(settings, [make("0"), make("1", number=1), make("2", lane="b", number=2)])
    async with working(settings):
        await saw(path, 1)  # lane b; the call of lane a is under way
        other = await define_sink(settings, "other")
        await send(settings, [make("3", consumer="other")])
        await saw(other, 1)  # so there was a rebalance
        assert len(seen(path)) == 1
        path.with_suffix(".open").touch()
        await wait_for_attempts(settings, 4, outcome="accepted")
        await wait_until(lambda: is_committed(settings, {0: 3}))
    assert [line["content"] for line in seen(path)] == ["2", "0", "1"]
    assert len(await attempts(settings)) == 4


async def test_a_call_is_cut_off_when_its_partition_goes_to_another_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "HUNG_S", 0.1)
    monkeypatch.setattr(worker, "STOP_WAIT_S", 0.1)
    path = await define_sink(settings, partitions=2, plan={"0": ["hang", "accept"]})
    made = [make("0", lane=f"lane-{n}", number=n) for n in range(16)]  # on both partitions
    await send(settings, made)
    async with working(settings):
        await saw(path, 16)
        async with working(settings):
            found = await wait_for_attempts(settings, 1, outcome="accepted")
            cut_off = [a.delivery for a in found if (a.detail or "").startswith("cut off")]
            assert 0 < len(cut_off) < 16
            await define(settings, "sink", {"type": "sink", "parameters": {"path": str(path)}}, revision=2)
        await wait_for_attempts(settings, len(cut_off), outcome="accepted")


class _Finished:
    """A partition with an offset to commit."""

    def to_commit(self) -> int:
        return 1

    def commit_succeeded(self, offset: int) -> None:
        pass


class _Committing:
    """A Kafka consumer without records, whose reader is cancelled in the moment that a commit ends."""

    reader: "asyncio.Task[None]"

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.01)
        return {}

    def paused(self) -> frozenset[TopicPartition]:
        return frozenset()

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        await asyncio.sleep(0)
        self.reader.cancel()


async def _drop_nothing(*_: Any) -> None:
    pass


async def test_a_stop_in_the_moment_a_commit_ends_is_not_lost(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = Definitions(settings, Catalog(registry=REGISTRY))
    committing = DeliveryWorker(settings, definitions, detect_sandbox(settings))
    monkeypatch.setattr(committing, "_partitions", {TopicPartition("deliveries.sink", 0): _Finished()})
    monkeypatch.setattr(committing, "_balance", lambda kafka: None)
    monkeypatch.setattr(worker, "drop_drained_topics", _drop_nothing)
    kafka = _Committing()
    kafka.reader = asyncio.create_task(committing._read(kafka))
    done, _ = await asyncio.wait([kafka.reader], timeout=WAIT_S)
    kafka.reader.cancel()
    assert done
    assert kafka.reader.cancelled()
