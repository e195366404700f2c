"""The relay: order, at least once, one at a time, and repair. On SQLite and on PostgreSQL."""

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import text

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.outbox import OutboxRecord
from control_api.definitions.relay import Relay, publish_pending
from control_api.definitions.services import Services
from control_api.migrate import upgrade_database
from control_api.models import ChangeRow, LeaseRow, OutboxRow
from notifier.catalog import Catalog
from notifier.database import Database
from notifier.definition import Definition
from notifier.errors import BrokerError, InputError
from notifier.kafka import kafka_admin, kafka_consumer
from notifier.seal import Seal, generate_key
from notifier.settings import Settings, load_settings
from streams.broker.broker import EmbeddedBroker
from streams.definitions import Definitions
from tests.rigs.definitions_rig import (
    CANARY,
    CHAT,
    EDITOR,
    REGISTRY,
    USER,
    applying,
    create_all,
    large,
    publish_all,
    rows,
    shape,
)
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until

pytest_plugins = ["tests.rigs.databases"]


async def test_each_revision_is_published_in_order(
    database_settings: Settings, database: Database, published: Services, seal: Seal
) -> None:
    await create_all(published)
    await published.patch(EDITOR, "user", "alice", {"on_leave": True})
    await published.replace(EDITOR, "configuration", "all", {})
    last = await published.delete(COMMAND_LINE, "consumer", "team")
    relay = Relay(database_settings, database)
    assert await relay.pending() == 10
    assert await relay.publish()
    assert relay.leads
    assert await relay.pending() == 0
    await relay.close()
    records = await read_all(database_settings, "definitions")
    assert shape(records) == [
        (key, key == "consumer/team" and place == 9, place + 1, True)
        for place, key in enumerate(
            ["user/alice", "script/append", "producer/news", "filter/short", "consumer/team", "consumer/to-file",
             "configuration/all", "user/alice", "configuration/all", "consumer/team"]
        )
    ]  # fmt: skip
    definition = Definition.decode(records[2].value)
    assert (definition.kind, definition.name, definition.revision) == ("producer", "news", 3)
    assert seal.open(definition.spec["parameters"]["token"], "producer/news/token") == CANARY
    assert await rows(database, OutboxRow) == []
    assert all(row.published_at is not None for row in await rows(database, ChangeRow))
    assert last == 10
    assert await rows(database, LeaseRow) == []


async def test_a_topic_of_deliveries_is_there_before_its_consumer(
    database_settings: Settings, database: Database, published: Services
) -> None:
    await published.create(EDITOR, "consumer", {**CHAT, "parameters": {"token": "t", "partitions": 3}})

    class Watching(Relay):
        """Looks for the topic when the definition is on its way."""

        async def _close_kafka(self) -> None:
            async with kafka_admin(self._settings) as admin:
                (described,) = await admin.describe_topics([f"{self._settings.topic_prefix}deliveries.team"])
                partitions.append(len(described["partitions"]))
            await super()._close_kafka()

    partitions: list[int] = []
    relay = Watching(database_settings, database)
    await relay.publish()
    await relay.close()
    assert partitions == [3]


async def test_a_topic_of_deliveries_grows_with_its_consumer(
    database_settings: Settings, database: Database, published: Services
) -> None:
    async def count() -> int:
        async with kafka_admin(database_settings) as admin:
            (described,) = await admin.describe_topics([f"{database_settings.topic_prefix}deliveries.team"])
            return len(described["partitions"])

    relay = Relay(database_settings, database)
    await published.create(EDITOR, "consumer", {**CHAT, "parameters": {"token": "t"}})
    await relay.publish()
    assert await count() == 1
    await published.patch(EDITOR, "consumer", "team", {"parameters": {"partitions": 3}})
    await relay.publish()
    assert await count() == 3
    for fewer in ({"partitions": 2}, {"partitions": None}):
        with pytest.raises(InputError) as caught:
            await published.patch(EDITOR, "consumer", "team", {"parameters": fewer})
        (error,) = caught.value.errors
        assert error.pointer == "/parameters/partitions"
        assert error.detail.startswith(
            "must be 3 or more: its topic has 3, and no topic can lose some; write partitions: 3"
        )
    await published.patch(EDITOR, "consumer", "team", {"parameters": {"chat_id": 5}})
    await relay.publish()
    await relay.close()
    assert await count() == 3


async def test_a_running_relay_publishes_what_is_committed(
    database_settings: Settings, database: Database, seal: Seal
) -> None:
    relay = Relay(database_settings, database, poll_s=60)
    services = Services(database, REGISTRY, seal, changed=relay.wake)
    await relay.start()
    await wait_until(lambda: relay.leads)
    await services.create(EDITOR, "user", USER)  # a look each minute would be too late
    await wait_for_records(database_settings, "definitions", 1)
    await services.delete(EDITOR, "user", "alice")
    await wait_for_records(database_settings, "definitions", 2)
    assert relay.problem is None
    await relay.stop()


async def test_another_process_change_is_found_by_polling(
    database_settings: Settings, database: Database, published: Services
) -> None:
    relay = Relay(database_settings, database, poll_s=0.1)
    await relay.start()
    await wait_until(lambda: relay.leads)
    await published.create(EDITOR, "user", USER)
    await wait_for_records(database_settings, "definitions", 1)
    await relay.stop()


async def test_a_broker_that_is_away_is_waited_for(
    database_settings: Settings, database: Database, published: Services
) -> None:
    away = database_settings.model_copy(update={"kafka": "127.0.0.1:1"})
    relay = Relay(away, database, poll_s=0.05)
    await relay.start()
    await published.create(EDITOR, "user", USER)
    await wait_until(lambda: relay.problem is not None)
    assert await relay.pending() == 1
    relay._settings = database_settings  # the broker is back
    await wait_for_records(database_settings, "definitions", 1)
    await wait_until(lambda: relay.problem is None)
    await relay.stop()


@pytest.mark.slow
async def test_a_broker_that_stops_and_starts_again_gets_what_it_missed(tmp_path: Path) -> None:
    settings = load_settings(
        env_file=None, data_dir=tmp_path, kafka=None, kafka_port=0, database_url=None, secret_key=generate_key()
    )
    broker = EmbeddedBroker(settings)
    await asyncio.to_thread(broker.start, die_with_parent=True)
    database = Database(settings)
    await upgrade_database(database)
    relay = Relay(settings, database, poll_s=0.1)
    services = Services(database, REGISTRY, Seal(generate_key()), changed=relay.wake)
    await relay.start()
    await services.create(EDITOR, "user", USER)
    await wait_for_records(settings, "definitions", 1)
    await asyncio.to_thread(broker.stop)
    await services.patch(EDITOR, "user", "alice", {"on_leave": True})
    await services.delete(EDITOR, "user", "alice")
    await wait_until(lambda: relay.problem is not None)
    await asyncio.to_thread(broker.start, die_with_parent=True)
    records = await wait_for_records(settings, "definitions", 3)
    assert shape(records) == [("user/alice", place == 3, place, True) for place in (1, 2, 3)]
    await relay.stop()
    await database.close()
    await asyncio.to_thread(broker.stop)


async def test_one_relay_works_and_another_takes_over(
    database_settings: Settings, database: Database, published: Services
) -> None:
    first, second = Relay(database_settings, database), Relay(database_settings, database)
    assert await first.publish()
    assert not await second.publish()
    await published.create(EDITOR, "user", USER)
    assert not await second.publish()
    await first.close()
    assert await second.publish()
    assert shape(await read_all(database_settings, "definitions")) == [("user/alice", False, 1, True)]
    await second.close()


async def test_a_stale_relay_is_fenced(database_settings: Settings, database: Database, published: Services) -> None:
    stale = Relay(database_settings, database)
    assert await stale.publish()
    async with database.write() as session:  # its lease ran out while it was away
        await session.execute(text("DELETE FROM lease"))
    await published.create(EDITOR, "user", USER)
    successor = Relay(database_settings, database)
    assert await successor.publish()
    with pytest.raises(BrokerError):  # it still believes that it leads, and Kafka knows better
        await send_as(stale)
    assert not await stale.publish()
    await stale.close()
    assert len(await rows(database, LeaseRow)) == 1  # the successor's
    await successor.close()
    assert shape(await read_all(database_settings, "definitions")) == [("user/alice", False, 1, True)]


async def send_as(relay: Relay) -> None:
    """Publishes something as a relay that does not know that it lost its lease."""

    async def waiting() -> tuple[int, list[OutboxRecord]]:
        return 1, [OutboxRecord(key="user/alice", value=b"{}")]

    relay._outbox.oldest = waiting  # type: ignore[method-assign]  # what it read before it was away
    try:
        await relay.publish()
    finally:
        del relay._outbox.oldest


CRASHING = """
import asyncio, os, signal, sys
from control_api.definitions.relay import Relay
from notifier.database import Database
from notifier.settings import load_settings

point = sys.argv[1]


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class Crashing(Relay):
    async def _open_kafka(self):
        await super()._open_kafka()
        mark = self._outbox.mark

        async def crashing(first, last):
            if point == "before the mark":
                die()
            await mark(first, last)
            if point == "after the mark":
                die()

        self._outbox.mark = crashing
        if point == "before the commit":
            self._producer.commit_transaction = die
        if point == "before sending":
            self._producer.begin_transaction = die


async def main():
    settings = load_settings(env_file=None)
    await Crashing(settings, Database(settings), lease_s=0.5).publish()


asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("database_settings", "point"),
    [
        ("sqlite", "before sending"),
        ("sqlite", "before the commit"),
        ("sqlite", "before the mark"),
        ("sqlite", "after the mark"),
        ("postgresql", "before the mark"),
    ],
    indirect=["database_settings"],
)
async def test_a_killed_relay_loses_nothing(
    database_settings: Settings, database: Database, published: Services, point: str
) -> None:
    await create_all(published)
    environment = {
        **os.environ,
        "NOTIFIER_KAFKA": database_settings.kafka or "",
        "NOTIFIER_TOPIC_PREFIX": database_settings.topic_prefix,
        "NOTIFIER_DATA_DIR": str(database_settings.data_dir),
        "NOTIFIER_DATABASE_URL": database_settings.database_url or "",
    }
    child = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", CRASHING, point], env=environment, capture_output=True, timeout=120
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    relay = Relay(database_settings, database)
    await wait_until(relay.publish)  # once the dead one's lease has run out
    await relay.close()
    records = shape(await read_all(database_settings, "definitions"))
    expected = [
        (key, False, place, True)
        for place, key in enumerate(
            ["user/alice", "script/append", "producer/news", "filter/short", "consumer/team", "consumer/to-file",
             "configuration/all"], 1,
        )
    ]  # fmt: skip
    assert records == ([expected[0], *expected] if point == "before the mark" else expected)
    assert await rows(database, OutboxRow) == []


async def test_what_a_new_broker_lost_is_published_again_whole(
    database_settings: Settings, database: Database, published: Services
) -> None:
    await create_all(published)
    await publish_all(database_settings, database)
    await published.patch(EDITOR, "user", "alice", {"on_leave": True})  # waits, and goes out with the rest
    async with kafka_admin(database_settings) as admin:
        name = f"{database_settings.topic_prefix}definitions"
        await admin.delete_topics([name, f"{database_settings.topic_prefix}deliveries.team"])

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await wait_until(gone)
    await publish_all(database_settings, database)
    records = shape(await read_all(database_settings, "definitions"))
    assert sorted(key for key, *_ in records) == [
        "configuration/all", "consumer/team", "consumer/to-file", "filter/short", "producer/news", "script/append",
        "user/alice",
    ]  # fmt: skip
    assert {revision for _, _, revision, _ in records} == {8}
    assert [last for *_, last in records] == [False] * 6 + [True]
    assert await rows(database, OutboxRow) == []
    await publish_all(database_settings, database)  # nothing is missing now
    assert len(await read_all(database_settings, "definitions")) == 7


async def test_what_only_the_topic_has_is_reported_and_kept(
    database_settings: Settings, database: Database, published: Services, caplog: pytest.LogCaptureFixture
) -> None:
    await published.create(EDITOR, "user", USER)
    await published.create(EDITOR, "user", {"username": "bob"})
    await publish_all(database_settings, database)
    async with database.write() as session:  # as if the database came from an older backup
        await session.execute(text("DELETE FROM definition WHERE name = 'bob'"))
        await session.execute(text("UPDATE definition SET spec = '{\"on_leave\": true}'"))
    await publish_all(database_settings, database)
    assert "1 definitions on the topic are not in the database, for instance user/bob" in caplog.text
    assert [key for key, *_ in shape(await read_all(database_settings, "definitions"))] == [
        "user/alice",
        "user/bob",
        "user/alice",
    ]


async def test_a_reader_sees_a_large_apply_whole_or_not_at_all(
    database_settings: Settings, database: Database, seal: Seal, tmp_path: Path
) -> None:
    path = tmp_path / "large.yaml"
    applied = applying(database, seal)
    reader = Definitions(database_settings, Catalog(registry=REGISTRY, seal=seal))
    seen: list[tuple[int, int, int]] = []
    reader.on_change(
        lambda catalog: seen.append(
            (len(catalog.users), len(catalog.configurations), sum(user.on_leave for user in catalog.users.values()))
        )
    )
    await reader.load()
    for content, expected in ((large(2000), (1000, 1000, 0)), (large(2000, "true"), (1000, 1000, 1000))):
        path.write_text(content)
        plan = await applied(path)
        await publish_pending(database_settings, database, plan.revision)
        await wait_until(partial(ends_with, seen, expected), otherwise=lambda: str(seen))
    path.write_text("users: [{username: last}]\n")
    plan = await applied(path, prune=True)
    await publish_pending(database_settings, database, plan.revision)
    await wait_until(lambda: seen[-1:] == [(1, 0, 0)], otherwise=lambda: str(seen))
    assert seen == [(1000, 1000, 0), (1000, 1000, 1000), (1, 0, 0)]
    await reader.stop()


def ends_with(seen: list[Any], expected: object) -> bool:
    return seen[-1:] == [expected]


async def test_a_transaction_that_is_not_committed_is_not_seen(
    database_settings: Settings, database: Database, published: Services, seal: Seal
) -> None:
    await published.create(EDITOR, "user", USER)

    class Stuck(Relay):
        """Sends and never commits."""

        async def _send(self, revision: int, records: Any) -> None:
            assert self._producer is not None
            await self._producer.begin_transaction()
            await self._producer.send_and_wait(
                f"{self._settings.topic_prefix}definitions", key=b"user/ghost", value=b"{}", partition=0
            )
            raise TimeoutError

    stuck = Stuck(database_settings, database)
    with pytest.raises(BrokerError):
        await stuck.publish()
    await stuck.close()
    raw = kafka_consumer(database_settings, isolation_level="read_uncommitted")
    assert await uncommitted(raw, database_settings) == 1
    await publish_all(database_settings, database)
    reader = Definitions(database_settings, Catalog(registry=REGISTRY, seal=seal))
    catalog = await reader.load()
    assert list(catalog.users) == ["alice"]
    await reader.stop()


async def uncommitted(consumer: AIOKafkaConsumer, settings: Settings) -> int:
    """How many records lie on `definitions`, committed or not."""
    partition = TopicPartition(f"{settings.topic_prefix}definitions", 0)
    async with consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return len((await consumer.getmany(partition, timeout_ms=10_000)).get(partition, []))


async def test_apply_waits_for_the_relay_that_leads(
    database_settings: Settings, database: Database, published: Services
) -> None:
    relay = Relay(database_settings, database, poll_s=0.1)
    await relay.start()
    await wait_until(lambda: relay.leads)
    revision = (await published.create(EDITOR, "user", USER)).revision
    await publish_pending(database_settings, database, revision)
    assert len(await read_all(database_settings, "definitions")) == 1
    assert relay.leads
    await relay.stop()
    idle = Relay(database_settings, database)
    assert await idle.publish()
    revision = (await published.patch(EDITOR, "user", "alice", {"on_leave": True})).revision
    with pytest.raises(BrokerError, match="has not done it in time"):
        await publish_pending(database_settings, database, revision, timeout_s=0.3)
    await idle.close()
