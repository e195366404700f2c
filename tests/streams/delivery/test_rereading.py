"""What is read again of a topic that has become another one."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from streams.delivery import rereading
from streams.delivery.lanes import Lane, Lanes

PLACE = TopicPartition("deliveries.sink", 0)
BEGIN, END = 100, 1200  # of the topic


class Kafka:
    """A Kafka consumer of a topic that holds less than it did."""

    def __init__(self) -> None:
        self.position = 0

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [PLACE]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.position = offset if BEGIN <= offset < END else BEGIN  # where there is no such offset

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        found = range(self.position, min(self.position + max_records, END))
        self.position += len(found)
        return {PLACE: [SimpleNamespace(offset=offset) for offset in found]} if found else {}

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, BEGIN)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, END)


async def test_what_a_topic_that_was_made_anew_does_not_have_is_let_go_of() -> None:
    async def wait(lane: Lane) -> None:
        raise AssertionError(lane)

    taken: list[tuple[int, str]] = []
    partition: Any = SimpleNamespace(
        topic_partition=PLACE,
        consumer="sink",
        lanes=Lanes(wait, lambda error: None),
        take_back=lambda record, lane: taken.append((record.offset, lane)),
    )
    partition.lanes.open()
    partition.lanes.far.add("a", [50, 1100], False)
    partition.lanes.far.add("b", [5000, 5001], False)
    async with asyncio.timeout(5):
        await rereading._bring(Kafka(), partition)
    assert taken == [(1100, "a")]
    assert [(lane, list(offsets)) for lane, offsets in partition.lanes.far.lanes()] == [("a", [1100])]
