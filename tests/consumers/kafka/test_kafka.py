"""The Kafka consumer on a real broker: what it writes, where it must not, and what becomes of a delivery that fails."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from consumers.kafka import Kafka
from consumers.text.template import Renderer
from consumers.text.texts import Texts
from notifier import Context, Permanent, Result, Retryable
from notifier.catalog import Catalog
from notifier.kafka import ensure_topics
from notifier.kafka.cluster import failure_of
from notifier.network import Network
from notifier.plugin import secret_fields
from notifier.registry import Registry
from notifier.sandbox import Level, Sandbox
from notifier.settings import Settings
from notifier.testing import Case, hold
from notifier.topics import Topic, is_own
from streams.delivery.calling import Calling
from tests.rigs.broker_rig import embedded
from tests.rigs.kafka_tools import create_topic, read_all
from tests.rigs.plugin_world import context_without_scripts, make_delivery
from tests.rigs.repository import ROOT

GIVEN = {"servers": "kafka.example:9092", "topic": "alerts"}


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    """A context whose own topics begin with `notifier.`, and that renders templates."""
    renderer = Renderer()
    own = partial(is_own, prefix="notifier.")
    yield replace(
        context_without_scripts("out"), own_topic=own, render=Texts(renderer, Catalog(registry=Registry([]))).render
    )
    await renderer.close()


@asynccontextmanager
async def writing(settings: Settings, topic: str = "others", **parameters: Any) -> AsyncIterator[Kafka]:
    """The consumer that writes to a topic of the test's broker; closed at the end."""
    given = {"servers": settings.kafka, "topic": settings.topic_prefix + topic, **parameters}
    consumer = Kafka(Kafka.Parameters.model_validate(given))
    try:
        yield consumer
    finally:
        await consumer.close()


def make(content: str = "build failed", number: int = 1, **more: Any) -> Any:
    return make_delivery(content, number=number, consumer="out", **more)


async def test_a_message_is_written_as_it_came_with_key_and_headers(settings: Settings, context: Context) -> None:
    await create_topic(settings, "others")
    message = {"labels": {"team": "infra"}, "own_field": [1]}
    async with writing(settings) as consumer:
        await consumer.check(context)
        deliveries = [
            make(message=message),
            make(number=9, message=b"[]"),
            make("\u2603", 2, recipient=None, receiver=None),
        ]
        good, unreadable, other = await consumer.deliver(deliveries, context)
        assert good == other == Result()
        assert (unreadable.outcome, unreadable.reason) == ("refused", "invalid_content")
    async with writing(settings, key="{{ message.labels.team }}", value="text") as consumer:
        assert await consumer.deliver([make(message=message)], context) == [Result()]
        (failed,) = await consumer.deliver([make()], context)
    first, unkeyed, keyed, fallback = await read_all(settings, "others")
    assert json.loads(first.value) == {"producer": "ci", "content": "build failed", **message}
    assert (first.key, unkeyed.key, keyed.key) == (b"al", None, b"infra")
    assert dict(first.headers) == {"notifier-delivery": b"ci/1/all/out/alice", "notifier-configuration": b"all"}
    assert keyed.value == b"From octocat to al: build failed\nteam: infra"
    assert fallback.key == b"al"
    assert failed.outcome == "accepted"
    assert "the template of the key failed" in str(failed.detail)


async def test_each_address_that_a_broker_names_is_judged(settings: Settings, context: Context) -> None:
    """The first address is allowed by its name; the broker then names itself as 127.0.0.1, which is not."""
    await create_topic(settings, "others")
    assert settings.kafka is not None
    servers = settings.kafka.replace("127.0.0.1", "localhost")
    async with writing(settings, servers=servers) as consumer:
        with pytest.raises(Retryable) as refused:
            await consumer.deliver([make()], replace(context, network=Network(allowed=["localhost"])))
    assert refused.value.reason == "connection"
    servers = f"10.255.255.1:9092,{settings.kafka}"  # of which one is enough
    async with writing(settings, "missing", servers=servers) as consumer:
        with pytest.raises(Permanent, match="no topic"):
            await consumer.check(context)
    async with writing(settings) as consumer:
        with pytest.raises(Permanent, match="NOTIFIER_ALLOWED_ADDRESSES") as forbidden:
            await consumer.deliver([make()], replace(context, network=Network()))
    assert forbidden.value.reason == "forbidden"
    assert await read_all(settings, "others") == []


async def test_what_the_topic_does_not_take_is_given_up(settings: Settings, context: Context) -> None:
    async with writing(settings, "missing") as consumer:
        for act in (consumer.check(context), consumer.deliver([make()], context)):
            with pytest.raises(Permanent, match="no topic") as refused:
                await act
            assert refused.value.reason == "not_found"


async def test_a_record_that_the_topic_refuses_costs_no_other(settings: Settings, context: Context) -> None:
    """Brokers refuse a batch as a whole, and then what follows of the same client."""
    compacted = Topic(name="compacted", key="", value="", partitions=1, retention_ms=None, compacted=True)
    await ensure_topics(settings, [compacted])
    async with writing(settings, "compacted") as consumer:
        deliveries = [make("first", 1), make("no key", 2, recipient=None, receiver=None), make("third", 3)]
        results = await consumer.deliver(deliveries, context)
        assert [one.outcome for one in results] == ["accepted", "refused", "accepted"]
        assert results[1].reason == "invalid_content"
        assert await consumer.deliver([deliveries[1]], context) == [results[1]]
        assert await consumer.deliver([make("fourth", 4)], context) == [Result()]
    assert [json.loads(one.value)["content"] for one in await read_all(settings, "compacted")] == [
        "first",
        "third",
        "fourth",
    ]


async def test_a_second_cluster_gets_the_records(settings: Settings, context: Context, tmp_path: Path) -> None:
    await create_topic(settings, "others")
    second = embedded(tmp_path / "second")
    address = await asyncio.to_thread(second.start, die_with_parent=True)
    try:
        there = settings.model_copy(update={"kafka": address})
        await create_topic(there, "others")
        async with writing(there) as consumer:
            await consumer.check(context)
            assert await consumer.deliver([make(), make("fixed", 2)], context) == [Result(), Result()]
        assert [json.loads(one.value)["content"] for one in await read_all(there, "others")] == [
            "build failed",
            "fixed",
        ]
        assert await read_all(settings, "others") == []
    finally:
        await asyncio.to_thread(second.stop)


async def test_a_cluster_that_is_away_keeps_the_contract(context: Context) -> None:
    password = "CANARY-password"
    with socket.socket() as taken:  # bound, and listens to nobody
        taken.bind(("127.0.0.1", 0))
        signed = {"security_protocol": "SASL_PLAINTEXT", "username": "n", "password": password}
        given = {**GIVEN, "servers": f"127.0.0.1:{taken.getsockname()[1]}", **signed}
        consumer = Kafka(Kafka.Parameters.model_validate(given))
        await hold(consumer, Case(name="away", outcome="deferred", reason="connection"), None, make(), context)
        await consumer.close()


async def test_a_cluster_that_is_away_is_tried_again(context: Context) -> None:
    with socket.socket() as taken:  # bound, and listens to nobody
        taken.bind(("127.0.0.1", 0))
        given = {**GIVEN, "servers": f"127.0.0.1:{taken.getsockname()[1]}"}
        consumer = Kafka(Kafka.Parameters.model_validate(given))
        with pytest.raises(Retryable) as failed:
            await consumer.deliver([make()], context)
    assert failed.value.reason == "connection"


async def test_what_is_no_broker_fills_no_memory(context: Context) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with suppress(OSError):
            writer.write(b"\x7f\xff\xff\xff")  # the size of an answer
            while sent < 1 << 28:
                writer.write(bytes(1 << 16))
                await writer.drain()
                sent += 1 << 16
        writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    given = {**GIVEN, "servers": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    consumer = Kafka(Kafka.Parameters.model_validate(given))
    with pytest.raises(Retryable):
        await consumer.deliver([make()], context)
    server.close()
    assert sent < 1 << 28


@pytest.mark.parametrize("topic", ["notifier.messages", "notifier.deliveries.out", "notifier.anything"])
async def test_own_topics_are_refused_whatever_the_cluster(context: Context, topic: str) -> None:
    consumer = Kafka(Kafka.Parameters.model_validate({**GIVEN, "topic": topic}))
    for act in (consumer.check(context), consumer.deliver([make()], context)):
        with pytest.raises(Permanent, match="Notifier's own") as refused:
            await act
        assert refused.value.reason == "forbidden"


async def test_the_delivery_worker_knows_which_topics_are_own() -> None:
    sandbox = Sandbox(level=Level.none, explanation="no scripts here")
    calling = Calling(sandbox, Catalog(registry=Registry((Kafka,))), {}, topic_prefix="own.")
    consumer = Kafka(Kafka.Parameters.model_validate({**GIVEN, "topic": "own.messages"}))
    (result,) = (await calling.call(consumer, [make()])).results
    assert (result.outcome, result.reason) == ("refused", "forbidden")
    await calling.close()


def test_without_a_prefix_the_names_of_the_table_are_own() -> None:
    assert [topic for topic in ("messages", "deliveries.x", "attempts", "alerts") if is_own(topic, "")] == [
        "messages",
        "deliveries.x",
        "attempts",
    ]


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("SaslAuthenticationFailed", Permanent, "unauthorized"),
        ("UnsupportedSaslMechanismError", Permanent, "unauthorized"),
        ("TopicAuthorizationFailedError", Permanent, "forbidden"),
        ("MessageSizeTooLargeError", Permanent, "invalid_content"),
        ("InvalidTopicError", Permanent, "not_found"),
        ("KafkaConnectionError", Retryable, "connection"),
        ("NotEnoughReplicasError", Retryable, "server_error"),
        ("NotLeaderForPartitionError", Retryable, "server_error"),
    ],
)
def test_each_error_of_kafka_has_an_outcome(name: str, error: type[Exception], reason: str) -> None:
    from aiokafka import errors

    found = failure_of(getattr(errors, name)("what the broker says\r\n" * 100))
    assert (type(found), found.reason) == (error, reason)
    assert len(str(found)) < 400


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        pytest.param({"servers": "http://x"}, "servers", id="an address of the web"),
        pytest.param({"servers": "a:0"}, "servers", id="no port"),
        pytest.param({"topic": "__consumer_offsets"}, "topic", id="Kafka's own"),
        pytest.param({"topic": "a/b"}, "topic", id="no name"),
        pytest.param({"key": "{{ message.id"}, "key", id="no template"),
        pytest.param({"authority": "-----BEGIN CERTIFICATE-----"}, "authority", id="no certificate"),
        pytest.param({"security_protocol": "SASL_SSL"}, "username", id="nobody signs in"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Kafka.Parameters.model_validate({**GIVEN, **wrong})


def test_secrets_stay_secret_and_the_client_is_not_imported_before_the_first_record() -> None:
    assert secret_fields(Kafka.Parameters) == {"password", "proxy"}
    program = "import sys, consumers\nassert 'consumers.kafka.writing' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)
