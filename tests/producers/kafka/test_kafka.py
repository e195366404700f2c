"""The Kafka producer on real brokers: what is told, from where on it is read, and what stops nothing."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from notifier import Context, Permanent, Retryable
from notifier.errors import DeliveryError, RecordError
from notifier.network import Network
from notifier.plugin import secret_fields
from notifier.settings import Settings
from notifier.topics import is_own
from producers.kafka import Kafka
from tests.rigs.broker_rig import embedded
from tests.rigs.kafka_tools import create_topic, produce, wait_for_records, wait_until
from tests.rigs.plugin_world import context_without_scripts
from tests.rigs.repository import ROOT
from tests.rigs.runner_rig import dead_letters, define, messages, running, want

CONTEXT = replace(context_without_scripts("tail"), own_topic=partial(is_own, prefix="notifier."))


class Kept:
    """A feed that keeps what it is given, and fails while it is told to."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.error: Exception | None = None

    async def write(self, items: Sequence[Any]) -> None:
        if self.error is not None:
            raise self.error
        self.items += items

    def ids(self) -> list[str | None]:
        return [one.id if isinstance(one, RecordError) else one["id"] for one in self.items]


def producer(settings: Settings, topic: str = "others", **parameters: Any) -> Kafka:
    given = {"servers": settings.kafka, "topic": settings.topic_prefix + topic, "group": f"{settings.topic_prefix}g"}
    return Kafka(Kafka.Parameters.model_validate({**given, **parameters}))


@contextlib.asynccontextmanager
async def following(one: Kafka, feed: Kept, context: Context = CONTEXT) -> AsyncIterator["asyncio.Task[None]"]:
    """Follows while the block runs; cancelled at the end as a runner does it."""
    task = asyncio.create_task(one.follow(context, feed))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_record_is_read_again_until_it_is_told(settings: Settings) -> None:
    await produce(settings, "others", [{"content": "a"}, None, b"\xff", {"content": "b"}], key="k")
    one, feed = producer(settings), Kept()
    await one.check(CONTEXT)
    feed.error = RuntimeError("the broker is away")
    async with following(one, feed) as task:
        await asyncio.wait([task])
        assert task.exception() is feed.error
    feed.error = None
    place = f"{settings.topic_prefix}others-0-"
    async with following(one, feed):
        await wait_until(lambda: len(feed.items) == 4, otherwise=lambda: str(feed.items))
        assert feed.ids() == [f"{place}{number}" for number in range(4)]
        assert [isinstance(item, RecordError) for item in feed.items] == [False, True, True, False]
        await produce(settings, "others", ["c"])
        await wait_until(lambda: len(feed.items) == 5)
    await produce(settings, "others", ["while nobody reads"])
    async with following(one, feed):  # on from where the group is
        await wait_until(lambda: len(feed.items) == 6)
    assert feed.ids()[4:] == [f"{place}4", f"{place}5"]


async def test_a_group_that_begins_at_the_end_misses_nothing_from_then_on(settings: Settings) -> None:
    await produce(settings, "others", ["before"])
    one, feed = producer(settings, start="latest"), Kept()
    async with following(one, feed):
        await wait_until(lambda: _has_begun(settings))
    await produce(settings, "others", ["while nobody reads"])  # before it has read anything at all
    async with following(one, feed):
        await wait_until(lambda: len(feed.items) == 1)
    assert feed.items[0]["content"] == "while nobody reads"


async def _has_begun(settings: Settings) -> bool:
    from notifier.kafka import kafka_admin

    async with kafka_admin(settings) as admin:
        return bool(await admin.list_consumer_group_offsets(f"{settings.topic_prefix}g"))


async def test_two_share_the_partitions(settings: Settings) -> None:
    from notifier.kafka import ensure_topics
    from notifier.topics import Topic

    await ensure_topics(settings, [Topic(name="others", key="", value="", partitions=4, retention_ms=None)])
    one, feeds = producer(settings), [Kept(), Kept()]
    async with following(one, feeds[0]), following(one, feeds[1]):
        number = 0
        while not (feeds[0].items and feeds[1].items):
            for partition in range(4):
                await produce(settings, "others", [str(number)], partition=partition)
                number += 1
        await wait_until(lambda: len(set(feeds[0].ids() + feeds[1].ids())) == number)


async def test_another_cluster_becomes_messages_of_this_one_and_a_pause_loses_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    second = embedded(tmp_path / "second")
    address = await asyncio.to_thread(second.start, die_with_parent=True)
    there = settings.model_copy(update={"kafka": address, "topic_prefix": "x."})
    here = settings.model_copy(update={"allowed_addresses": ["127.0.0.0/8"]})
    parameters = {"servers": address, "topic": "x.builds", "mapping": {"content": "t", "receiver": "who"}}
    try:
        await produce(there, "builds", [{"t": "a", "who": "al"}, b"\xff", b"x" * 1_000_000, {"t": "b"}])
        await define(here, producer={"tail": {"type": "kafka", "parameters": parameters}})
        async with running(here) as (runner,):
            await wait_for_records(here, "messages", 2)
            letters = await dead_letters(here, 2)
            await want(here, "tail", "paused")
            await wait_until(lambda: runner._pauses.is_paused("tail"))
            await produce(there, "builds", [{"t": "while it is paused"}])
            await want(here, "tail", "resumed")
            await wait_for_records(here, "messages", 3)
            assert runner.failed is None
    finally:
        await asyncio.to_thread(second.stop)
    told = {str(one["id"]): one for one in await messages(here)}
    assert sorted(told) == ["x.builds-0-0", "x.builds-0-3", "x.builds-0-4"]
    first = told["x.builds-0-0"]
    assert (first["producer"], first["content"], first["receiver"]) == ("tail", "a", "al")
    assert [letter["id"] for letter in letters] == ["tail/x.builds-0-1", "tail/x.builds-0-2"]
    assert [letter["reason"] for letter in letters] == ["invalid", "too_large"]


async def test_this_installations_cluster_needs_no_address(settings: Settings) -> None:
    """And none is lent to it: its own topics are refused, whatever the cluster."""
    await produce(settings, "others", ["a"])
    one, feed = producer(settings, servers=None), Kept()
    own = replace(CONTEXT, network=Network(), own_servers=settings.kafka)
    await one.check(own)
    async with following(one, feed, own):
        await wait_until(lambda: len(feed.items) == 1)
    with pytest.raises(Retryable, match="not there now"):
        await one.follow(replace(CONTEXT, own_servers=None), feed)


@pytest.mark.parametrize(
    "names",
    [{"topic": "notifier.messages"}, {"topic": "notifier.anything"}, {"topic": "x", "group": "notifier.router"}],
)
async def test_own_topics_and_groups_are_refused(names: dict[str, str]) -> None:
    one = Kafka(Kafka.Parameters.model_validate({"servers": "kafka.example:9092", **names}))
    for act in (one.check(CONTEXT), one.follow(CONTEXT, Kept())):
        with pytest.raises(Permanent, match="Notifier's own") as refused:
            await act
        assert refused.value.reason == "forbidden"


async def test_what_is_not_there_says_so(settings: Settings) -> None:
    await create_topic(settings, "others")
    with socket.socket() as taken:  # bound, and listens to nobody
        taken.bind(("127.0.0.1", 0))
        signed = {"security_protocol": "SASL_PLAINTEXT", "username": "n", "password": "CANARY"}
        away = {"servers": f"127.0.0.1:{taken.getsockname()[1]}", **signed}
        cases: list[tuple[Kafka, Context, str]] = [
            (producer(settings, "missing"), CONTEXT, "not_found"),
            (producer(settings), replace(CONTEXT, network=Network()), "forbidden"),
            (producer(settings, **away), CONTEXT, "connection"),
        ]
        for one, context, reason in cases:
            for act in (one.check(context), one.follow(context, Kept())):
                with pytest.raises(DeliveryError) as failed:
                    await act
                assert failed.value.reason == reason
                assert "CANARY" not in str(failed.value)


def test_secrets_stay_secret_and_no_client_is_imported_before_it_is_needed() -> None:
    assert secret_fields(Kafka.Parameters) == {"password", "proxy", "registry_password"}
    program = (
        "import sys, producers\nfound = {'aiokafka', 'fastavro', 'jsonschema', 'aiohttp'} & set(sys.modules)\n"
        "assert 'producers.kafka.reading' not in sys.modules\nprint(json.dumps(sorted(found)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", "import json\n" + program], cwd=ROOT, check=True, timeout=120, capture_output=True
    )
    assert not {"fastavro", "jsonschema"} & set(json.loads(run.stdout))
