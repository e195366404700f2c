"""How many deliveries of a partition end at once, without a broker: what is recorded takes its time."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.settings import Settings
from streams.delivery import review, standing
from streams.delivery.consumers import Consumers
from streams.delivery.holds import Holds
from streams.delivery.ledger.line import Line, digest
from streams.delivery.partition import Partition
from streams.delivery.recording import Note, Recording, Try
from tests.rigs.delivery_rig import make
from tests.rigs.sink import REGISTRY


class Records(Recording):
    """What is recorded, and how many at once at the most."""

    def __init__(self) -> None:
        self.tries: list[tuple[str, Try]] = []
        self.at_once = self.most = 0

    async def attempts(self, notes: Sequence[Note]) -> None:
        await self._written()
        self.tries += [(note.delivery.message_id, note.tried) for note in notes]

    async def dead_letter(self, *args: Any, **options: Any) -> None:
        await self._written()

    async def _written(self) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1


class NoCalls:
    """Nothing is called."""

    def overtakes(self, consumer: str) -> bool:
        return False


def record(offset: int, delivery: Delivery, written_at: float | None = None) -> ConsumerRecord:
    return ConsumerRecord(
        topic="deliveries.sink",
        partition=0,
        offset=offset,
        timestamp=int((time.time() if written_at is None else written_at) * 1000),
        timestamp_type=0,
        key=delivery.lane.encode(),
        value=delivery.encode(),
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=(),
    )


def owned(records: Records, failed: list[BaseException]) -> Partition:
    """A partition of the consumer `sink`, which is not defined."""
    settings = Settings(_env_file=None)
    place = TopicPartition(f"{settings.topic_prefix}deliveries.sink", 0)
    holds = Holds((), lambda consumer, held: None, lambda consumer: None)
    consumers = Consumers(Catalog(registry=REGISTRY), {}, holds)
    return Partition(place, settings, records, NoCalls(), consumers, failed.append)  # type: ignore[arg-type]


async def test_what_another_worker_ended_is_not_kept_far_behind() -> None:
    """It is read again where something of another lane waits for long."""
    partition = owned(Records(), [])
    written_at = time.time()  # before its try: a try of earlier would be of another record
    made = [make("x", number=n, lane="b" if n else "a") for n in range(5000)]
    settled = [
        Line(
            id=digest(delivery.id),
            accepted=True,
            topic=partition.topic_partition.topic,
            partition=0,
            offset=offset,
            at=time.time(),
            number=1,
            spared=0,
            not_before=None,
            told=0,
            settled=1,
        )
        for offset, delivery in enumerate(made)
        if 0 < offset < 4990
    ]
    partition.ledger.load(settled)
    partition.take_in([record(n, delivery, written_at) for n, delivery in enumerate(made[:2000])])
    partition.lanes.open()
    partition.lanes.shed()
    partition.take_in([record(n + 2000, delivery, written_at) for n, delivery in enumerate(made[2000:])])
    assert len(partition.lanes.far) < 2020
    assert partition.lanes.committable == 0
    await partition.lanes.cancel()


async def test_what_waits_for_a_deleted_consumer_ends_together_though_its_configuration_went_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "DELETED_AFTER_S", 0.0)
    monkeypatch.setattr(review, "SURE_AFTER_S", 0.0)
    failed: list[BaseException] = []
    records = Records()
    partition = owned(records, failed)
    partition.take_in([record(n, make("x", number=n)) for n in range(400)])
    partition.lanes.open()
    while partition.lanes.unfinished and not failed:
        await asyncio.sleep(0)
    assert not failed
    assert [id_ for id_, _ in records.tries] == [f"m-x-{n}" for n in range(400)]
    assert {(tried.outcome, tried.reason) for _, tried in records.tries} == {("refused", "consumer_deleted")}
    assert records.most == 200
