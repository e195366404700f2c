"""Messages are found by producer and id, and read from their topic."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import select

from control_api.history import follower
from control_api.history.digest import digest
from control_api.history.message_index import MessageIndex, Place, places
from control_api.history.message_reader import MessageReader
from control_api.models import MessageRow
from control_api.retention import prune
from notifier.database import Database
from notifier.errors import BrokerError
from notifier.kafka import kafka_consumer
from notifier.record import now
from notifier.settings import Settings
from tests.rigs.history_rig import count_rows
from tests.rigs.kafka_tools import delete_topics, produce, wait_until

pytest_plugins = ["tests.rigs.databases"]

ODD: list[Any] = [
    b"no json",
    b"",
    b"\xff{}",
    b"[" * 5000,
    {"producer": "ci"},
    {"producer": 7, "id": "m"},
    {"producer": "ci", "id": ""},
    b'{"producer":"ci","id":"\\ud800"}',
]


async def _found(settings: Settings, database: Database, producer: str, id_: str) -> list[Place]:
    async with database.read() as session:
        return await places(session, settings, producer, id_)


async def test_a_message_is_found_and_read(database_settings: Settings, database: Database) -> None:
    settings = database_settings
    ids = ["m1", "a/b", "é" * 500, "m\0", "x" * 512]
    index = MessageIndex(settings, database)
    await produce(settings, "messages", [{"producer": "ci", "id": id_, "content": id_[:1]} for id_ in ids], partition=3)
    await index.start()
    try:
        await wait_until(lambda: _has_rows(database, len(ids)))
        await produce(settings, "messages", [*ODD, {"producer": "cd", "id": "m1", "content": "other"}], partition=5)
        await produce(settings, "messages", [{"producer": "ci", "id": "m1", "content": "again"}], partition=4)
        await wait_until(lambda: _has_rows(database, len(ids) + 2))
    finally:
        await index.stop()
    assert index.failed is None
    await MessageIndex(settings, database).catch_up()  # what is stored already is stored once
    assert await count_rows(database, MessageRow) == len(ids) + 2
    reader = MessageReader(settings)
    try:
        for offset, id_ in enumerate(ids):
            places_ = await _found(settings, database, "ci", id_)
            assert places_[-1] == Place(partition=3, offset=offset)
            record = await reader.read(places_[-1])
            assert record is not None
            assert (record.partition, record.offset) == (3, offset)
        assert [place.partition for place in await _found(settings, database, "ci", "m1")] == [4, 3]
        assert await _found(settings, database, "ci", "none") == []
        assert await _found(settings, database, "ci", "4-0-17") == [Place(partition=4, offset=0)]
        for nowhere in (Place(partition=4, offset=7), Place(partition=77, offset=0), Place(partition=2, offset=0)):
            assert await reader.read(nowhere) is None
    finally:
        await reader.close()


async def _has_rows(database: Database, count: int) -> bool:
    return await count_rows(database, MessageRow) == count


async def test_a_topic_that_begins_anew_hides_what_was_before(database_settings: Settings, database: Database) -> None:
    settings = database_settings
    await produce(
        settings, "messages", [{"producer": "ci", "id": f"old{n}", "content": "x"} for n in range(3)], partition=0
    )
    await MessageIndex(settings, database).catch_up()
    assert await _found(settings, database, "ci", "old2") == [Place(partition=0, offset=2)]
    await delete_topics(settings)
    await produce(settings, "messages", [{"producer": "ci", "id": "new", "content": "x"}], partition=0)
    await MessageIndex(settings, database).catch_up()
    assert await _found(settings, database, "ci", "old2") == []
    assert await _found(settings, database, "ci", "new") == [Place(partition=0, offset=0)]


async def test_a_broker_that_goes_away_ends_a_command(
    settings: Settings, offline: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await produce(settings, "messages", [{"producer": "ci", "id": "m", "content": "x"}], partition=0)

    @asynccontextmanager
    async def gone_before_the_last(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
        """A broker that has one record more than it ever gives."""
        async with kafka_consumer(settings) as consumer:
            there = consumer.end_offsets

            async def promised(partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
                return {
                    partition: end + (partition.partition == 0) for partition, end in (await there(partitions)).items()
                }

            consumer.end_offsets = promised
            yield consumer

    monkeypatch.setattr(follower, "kafka_consumer", gone_before_the_last)
    monkeypatch.setattr(follower, "STALL_S", 1.0)
    with pytest.raises(BrokerError, match="gives no records"):
        await MessageIndex(settings, offline).catch_up()
    assert await _found(settings, offline, "ci", "m") == [Place(partition=0, offset=0)]


async def test_its_log_calls_it_what_people_do(
    alone: Settings, offline: Database, caplog: pytest.LogCaptureFixture
) -> None:
    index = MessageIndex(alone, offline)
    with caplog.at_level(logging.WARNING, follower.logger.name):
        await index.start()
        await wait_until(lambda: "The index of messages cannot go on now" in caplog.text, otherwise=lambda: caplog.text)
        await index.stop()


async def test_rows_go_with_the_retention_of_the_topic(store: Database, store_settings: Settings) -> None:
    at = now()
    async with store.write() as session:
        for offset, days in enumerate((8, 1)):
            session.add(MessageRow(generation=0, partition=0, offset=offset, digest=-1, at=at - timedelta(days=days)))
    assert await prune(store, store_settings) == 1
    async with store.read() as session:
        assert list(await session.scalars(select(MessageRow.offset))) == [1]


def test_a_digest_tells_producer_and_id_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert -(2**63) <= digest("ci", "\ud800") < 2**63
