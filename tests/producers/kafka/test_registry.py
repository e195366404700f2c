"""The schema registry, as a stub that serves recorded shapes: what its answers mean, and what is asked how often."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from notifier.errors import DeliveryError, InvalidRecord, Permanent, Retryable
from notifier.network import Network
from notifier.testing import Fault, Reply, Service, serving
from producers.kafka import registry as module
from producers.kafka.registry import Registry

LOOPBACK = Network(allowed=["127.0.0.0/8"])
INNER = {"type": "record", "name": "a.Inner", "fields": [{"name": "x", "type": "int"}]}
OUTER = {"type": "record", "name": "a.Outer", "fields": [{"name": "one", "type": "a.Inner"}]}


def says(value: Any, **reply: Any) -> Reply:
    return Reply(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"}, **reply)


def schema(value: Any, **more: Any) -> Reply:
    return says({"schema": json.dumps(value), **more})


@asynccontextmanager
async def asking(*replies: Reply, **options: Any) -> AsyncIterator[tuple[Registry, Service]]:
    async with serving() as service:
        service.replies.extend(replies)
        async with Registry(service.url, LOOPBACK, **options) as registry:
            yield registry, service


async def test_a_schema_is_asked_for_once_with_name_and_password() -> None:
    async with asking(schema("int"), username="name", password="secret") as (registry, service):
        for _ in range(3):
            found = (await registry.schemas({7}))[7]
            assert not isinstance(found, Exception)
            assert found.read(b"\x04") == 2
        (request,) = service.requests
    assert (request.path, request.headers["Authorization"]) == ("/schemas/ids/7", "Basic bmFtZTpzZWNyZXQ=")


async def test_what_a_schema_refers_to_is_looked_up() -> None:
    reference = {"name": "a.Inner", "subject": "in/ner", "version": 2}
    async with asking(schema(OUTER, references=[reference, reference, "odd"]), schema(INNER)) as (registry, service):
        found = (await registry.schemas({1}))[1]
        assert not isinstance(found, Exception)
        assert found.read(b"\x04") == {"one": {"x": 2}}
    assert [request.path for request in service.requests] == ["/schemas/ids/1", "/subjects/in%2Fner/versions/2"]
    named = {"name": "inner.json", "subject": "inner", "version": 1}
    outer = schema({"$ref": "inner.json"}, schemaType="JSON", references=[named])
    async with asking(outer, schema({"type": "integer"})) as (registry, _):
        found = (await registry.schemas({1}))[1]
        assert not isinstance(found, Exception)
        assert found.read(b"3") == 3
        with pytest.raises(InvalidRecord):
            found.read(b'"3"')


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(Reply(status=404), "no schema 7", id="unknown"),
        pytest.param(schema("syntax", schemaType="PROTOBUF"), "PROTOBUF", id="protobuf"),
        pytest.param(schema({"type": "array", "items": "null"}), "null outside", id="a bad one"),
        pytest.param(says({"schema": 3}), "no text", id="no text"),
        pytest.param(says([]), "no text", id="another shape"),
        pytest.param(says({"schema": "{"}), "no JSON", id="no JSON"),
        pytest.param(Reply(body=b"x" * 10_000_000), "more than 1048576 bytes", id="10 MB"),
        pytest.param(
            schema("int", references=[{"name": "a", "subject": "a", "version": n} for n in range(99)]),
            "50",
            id="references",
        ),
    ],
)
async def test_a_schema_that_cannot_be_used_costs_its_records(reply: Reply, words: str) -> None:
    async with asking(reply) as (registry, service):
        for _ in range(2):
            found = (await registry.schemas({7}))[7]
            assert isinstance(found, InvalidRecord)
            assert words in str(found)
        first = [request.path for request in service.requests].count("/schemas/ids/7")
    assert first == 1


async def test_an_unknown_schema_is_asked_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNKNOWN_S", 0.0)
    async with asking(Reply(status=404), schema("int")) as (registry, _):
        assert isinstance((await registry.schemas({7}))[7], InvalidRecord)
        assert not isinstance((await registry.schemas({7}))[7], Exception)


def fault(kind: Fault) -> Reply:
    return Reply(fault=kind)


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        pytest.param(Reply(status=401), Permanent, "unauthorized", id="401"),
        pytest.param(Reply(status=403), Permanent, "forbidden", id="403"),
        pytest.param(Reply(status=429, headers={"Retry-After": "7"}), Retryable, "rate_limited", id="429"),
        pytest.param(Reply(status=500, body=b"CANARY"), Retryable, "server_error", id="500"),
        pytest.param(Reply(status=302, headers={"Location": "/else"}), Retryable, "server_error", id="elsewhere"),
        pytest.param(Reply(body=b"<html>"), Retryable, "server_error", id="no registry"),
        pytest.param(fault("hang up"), Retryable, "connection", id="hang up"),
        pytest.param(fault("cut"), Retryable, "connection", id="cut"),
        pytest.param(fault("silent"), Retryable, "timeout", id="silent"),
    ],
)
async def test_a_registry_that_does_not_answer_loses_nothing(
    reply: Reply, kind: type[Exception], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER_S", 0.5 if reply.fault == "silent" else 60.0)
    async with asking(reply, username="name", password="CANARY") as (registry, service):
        for act in (registry.schemas({7}), registry.check()):
            with pytest.raises(DeliveryError) as failed:
                await act
            assert (type(failed.value), failed.value.reason) == (kind, reason)
            assert "CANARY" not in str(failed.value)
        assert {request.path for request in service.requests} <= {"/schemas/ids/7", "/schemas/types"}


async def test_addresses_of_the_operators_network_are_refused() -> None:
    async with serving() as service, Registry(service.url, Network()) as registry:
        with pytest.raises(Permanent, match="NOTIFIER_ALLOWED_ADDRESSES"):
            await registry.schemas({1})
        assert service.requests == []


async def test_without_an_address_nothing_is_asked() -> None:
    async with Registry(None, LOOPBACK) as registry:
        await registry.check()
        assert await registry.schemas(()) == {}
