"""`POST /messages`: what is refused, and what lies on the topic afterwards."""

import asyncio
import codecs
import gzip
import json
import re
import secrets
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import orjson
import pytest

from notifier.message import Message
from tests.rigs.api_rig import GOOD, Api
from tests.rigs.kafka_tools import read_all
from tests.rigs.problems import pointers, problem

DEEP = b'{"producer":"ci","content":"x","extra":' + b"[" * 100 + b"]" * 100 + b"}"


@dataclass(frozen=True)
class Case:
    """A body that is not accepted, and what the answer says."""

    name: str
    body: Any
    status: int
    pointers: tuple[str, ...] = ()
    type: str = "application/json"


BAD = [
    Case("no body", b"", 400),
    Case("a blank body", b" \n ", 400),
    Case("not JSON", b"{", 400),
    Case("two values", b"{}{}", 400),
    Case("not UTF-8", b'{"producer":"ci","content":"\xff"}', 400),
    Case("a byte order mark in the middle", b"[\xef\xbb\xbf{}]", 400),
    Case("nothing but a byte order mark", b"\xef\xbb\xbf", 400),
    Case("NaN", b'{"producer":"ci","content":"x","labels":{},"n":NaN}', 400),
    Case("a lone surrogate", rb'{"producer":"ci","content":"\ud800"}', 400),
    Case("nested too deeply", DEEP, 400),
    Case("nested far too deeply", b"[" * 100_000, 400),
    Case("another type", GOOD, 415, type="text/plain"),
    Case("no type", GOOD, 415, type=""),
    Case("another charset", GOOD, 415, type="application/json; charset=latin-1"),
    Case("a text", "hello", 422, ("",)),
    Case("a number", 1, 422, ("",)),
    Case("null", None, 422, ("",)),
    Case("an object with nothing in it", {}, 422, ("/producer", "/content")),
    Case(
        "all that is wrong",
        [GOOD, {"producer": 1, "title": [], "severity": "bad"}],
        422,
        ("/1/producer", "/1/content", "/1/title", "/1/severity"),
    ),
    Case("no content", {"producer": "ci"}, 422, ("/content",)),
    Case("content of another type", {"producer": "ci", "content": 1}, 422, ("/content",)),
    Case("an id that is too long", {**GOOD, "id": "x" * 513}, 422, ("/id",)),
    Case("a NUL in the receiver", {**GOOD, "receiver": "a\0b"}, 422, ("/receiver",)),
    Case("a severity nobody knows", {**GOOD, "severity": "bad"}, 422, ("/severity",)),
    Case("labels that are no texts", {**GOOD, "labels": {"a": 1}}, 422, ("/labels",)),
    Case("a time without a zone", {**GOOD, "not_before": "2026-01-01T00:00:00"}, 422, ("/not_before",)),
    Case("an expiry without a zone", {**GOOD, "expires_at": "2026-01-01T00:00:00"}, 422, ("/expires_at",)),
    Case("a version nobody knows", {**GOOD, "v": 2}, 422, ("/v",)),
    Case("an unknown producer", {**GOOD, "producer": "nobody"}, 422, ("/producer",)),
    Case("a producer that takes no pushes", {**GOOD, "producer": "reviews"}, 422, ("/producer",)),
    Case("one of many is no object", [GOOD, 7], 422, ("/1",)),
    Case("one of many does not fit", [GOOD, GOOD, {"producer": "ci"}], 422, ("/2/content",)),
    Case("one of many has an unknown producer", [GOOD, {**GOOD, "producer": "no"}, GOOD], 422, ("/1/producer",)),
    Case("an array in an array", [[GOOD]], 422, ("/0",)),
    Case("a line that is not JSON", b'{"producer":"ci","content":"x"}\n{', 400, type="application/x-ndjson"),
    Case("a line that does not fit", b'{"producer":"ci","content":"x"}\n\n[]', 422, ("/1",), "application/x-ndjson"),
    Case("a message that is too large", {**GOOD, "content": "x" * 900_001}, 413),
    Case("one of many is too large", [GOOD, {**GOOD, "content": "x" * 900_001}], 413),
]


@pytest.mark.predecessor("S-31")
@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
async def test_what_cannot_be_accepted_is_refused_whole(api: Api, case: Case) -> None:
    body = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
    headers = {"Content-Type": case.type} if case.type else {}
    good_ones = case.name.startswith("one of many") or b"\n{" in body  # of which nothing may be written either
    before = len(await read_all(api.settings, "messages")) if good_ones else 0
    async with api.client("push") as ci:
        answer = await ci.post("/api/v1/messages", content=body, headers=headers)
    problem(answer, case.status)
    if case.status == 422:
        assert tuple(pointers(answer)) == case.pointers
    if good_ones:
        assert len(await read_all(api.settings, "messages")) == before


ENCODED = {
    "gzip": (gzip.compress, 202),
    "x-gzip": (gzip.compress, 202),
    "GZIP": (gzip.compress, 202),
    "deflate": (zlib.compress, 202),
    "identity": (bytes, 202),
    ",gzip": (lambda body: gzip.compress(body)[:-9], 400),
    "gzip, identity": (lambda body: b"not gzip" + body, 400),
    "identity,deflate": (lambda body: gzip.compress(body), 400),
    "br": (bytes, 415),
    "zstd": (bytes, 415),
    "compress": (bytes, 415),
    "gzip, gzip": (bytes, 415),
    "gzip, br": (bytes, 415),
}


@pytest.mark.parametrize(("coding", "pack", "status"), [(name, *row) for name, row in ENCODED.items()], ids=ENCODED)
async def test_a_compressed_body_is_unpacked_or_refused_by_name(
    api: Api, coding: str, pack: Callable[[bytes], bytes], status: int
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    async with api.client("admin") as admin:
        answer = await admin.post("/api/v1/messages", content=pack(json.dumps(GOOD).encode()), headers=headers)
        if status == 202:
            assert answer.status_code == 202, answer.text
        else:
            text = problem(answer, status)["detail"]
            assert "Content-Encoding" in text
        if status == 415:
            assert coding.rpartition(", ")[2] in text
            assert answer.headers["accept-encoding"] == "gzip, deflate"
        other = await admin.post("/api/v1/users", content=pack(b'{"username": ""}'), headers=headers)
        problem(other, 422 if status == 202 else status)  # the same on every address


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/v1/users", "/hooks/json/ci", "/graphql"])
async def test_a_small_body_that_unpacks_to_too_much_is_refused(api: Api, path: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with api.client("admin") as admin:
        bomb = gzip.compress(b" " * 17 * 1024 * 1024)
        assert "unpacked" in problem(await admin.post(path, content=bomb, headers=headers), 413)["detail"]


async def pushed(api: Api, content: Any, type_: str = "application/json") -> tuple[list[str], list[Any]]:
    """The ids that the answer gives, and the records with those ids on the topic."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    async with api.client("push") as ci:
        answer = await ci.post("/api/v1/messages", content=body, headers={"Content-Type": type_})
    assert answer.status_code == 202, answer.text
    ids = [one["id"] for one in answer.json()["messages"]]
    assert answer.json()["accepted"] == len(ids)
    found = [record for record in await read_all(api.settings, "messages") if orjson.loads(record.value)["id"] in ids]
    return ids, found


async def test_an_accepted_message_is_on_the_topic_byte_for_byte(api: Api) -> None:
    raw = (
        b'{ "producer":"ci", "id":"build-1","receiver":"alice", "content":"\\u00e9 \xc3\xa9",'
        b' "big":123456789012345678901234567890, "x":{"y":1.10} }'
    )
    ids, (record,) = await pushed(api, raw)
    assert ids == ["build-1"]
    assert record.value == raw
    assert record.key == b"alice"


NAMES_OF_JSON = ["application/cloudevents+json; charset=UTF-8", "text/json", "application/json;charset=us-ascii"]
NAMES_OF_NDJSON = ["application/ndjson", "application/jsonl", "Application/X-NDJSON"]


@pytest.mark.parametrize("name", [*NAMES_OF_JSON, *NAMES_OF_NDJSON])
async def test_json_and_lines_are_taken_by_every_name_that_they_have(api: Api, name: str) -> None:
    ids, _ = await pushed(api, json.dumps(GOOD).encode() + (b"\n" + json.dumps(GOOD).encode()) * ("nd" in name), name)
    assert ids
    assert await pushed(api, b"\xef\xbb\xbf" + json.dumps({**GOOD, "id": "7"}).encode(), name)  # some begin with a mark


async def test_what_is_written_as_absent_is_not_on_the_topic(api: Api) -> None:
    fields = [field.name for field in msgspec.structs.fields(Message) if not field.required]
    nothing = {**GOOD, **dict.fromkeys(fields), "extra": None, "receiver": "alice"}
    empty = {
        **nothing,
        "id": "",
        "sender": "",
        "severity": "",
        "occurred_at": "",
        "not_before": "",
        "expires_at": "",
        "configuration": "",
    }
    ids, found = await pushed(api, [nothing, {**empty, "labels": {"a": None, "b": "c"}}])
    assert [len(id_) for id_ in ids] == [36, 36]
    for record in found:
        written = json.loads(record.value)
        assert written.pop("labels", None) in (None, {"b": "c"})
        assert written == {**GOOD, "extra": None, "receiver": "alice", "id": written["id"]}
        assert record.value.count(b'"id"') == 1
        assert record.key == b"alice"


async def test_a_message_without_id_is_given_one(api: Api) -> None:
    ids, (record,) = await pushed(api, b'{"producer":"ci","content":"x","n":1}')
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", ids[0])
    assert record.value == b'{"producer":"ci","content":"x","n":1,"id":"' + ids[0].encode() + b'"}'
    assert record.key is None
    ids, (record,) = await pushed(api, {**GOOD, "id": None})
    assert record.value.count(b'"id"') == 1


async def test_an_array_and_lines_are_accepted_in_order(api: Api) -> None:
    mark = secrets.token_hex(4)
    many = [{**GOOD, "id": f"{mark}-{number}"} for number in range(300)]
    ids, found = await pushed(api, many)
    assert ids == [one["id"] for one in many]
    assert [orjson.loads(record.value)["id"] for record in found] == ids
    assert len({record.partition for record in found}) == 1  # those without receiver keep their order
    lines = b"\r\n".join(orjson.dumps({**GOOD, "receiver": name}) for name in ("alice", "bob", "alice")) + b"\n\n"
    ids, found = await pushed(api, lines, "application/x-ndjson; charset=UTF-8")
    assert len(ids) == 3
    assert sorted(record.key for record in found) == [b"alice", b"alice", b"bob"]
    assert await pushed(api, b"[]") == ([], [])


async def test_a_request_of_sixteen_mebibytes_is_accepted(api: Api) -> None:
    mark = secrets.token_hex(4)
    large = [{**GOOD, "id": f"{mark}-{number}", "content": "x" * 890_000} for number in range(18)]
    ids, found = await pushed(api, large)
    assert len(found) == len(ids) == 18


@pytest.mark.parametrize("type_", ["application/json", "application/x-ndjson"])
async def test_a_body_that_comes_in_parts_is_accepted_whole_and_in_order(api: Api, type_: str) -> None:
    mark = secrets.token_hex(4)
    many = [{**GOOD, "id": f"{mark}-{number}", "content": "ä" * 150} for number in range(1000)]
    body = orjson.dumps(many) if type_ == "application/json" else b"\n".join(map(orjson.dumps, many))
    body = codecs.BOM_UTF8 + b" \n" + body

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 30_001):
            yield body[start : start + 30_001]

    async with api.client("push") as ci:
        answer = await ci.post("/api/v1/messages", content=parts(), headers={"Content-Type": type_})
    assert answer.status_code == 202, answer.text
    assert [one["id"] for one in answer.json()["messages"]] == [one["id"] for one in many]
    there = [orjson.loads(record.value)["id"] for record in await read_all(api.settings, "messages")]
    assert [id_ for id_ in there if id_.startswith(mark)] == [one["id"] for one in many]


@pytest.mark.parametrize(
    ("type_", "begin", "status"),
    [
        ("application/json", b"[" + b"{}," * 30_000, 422),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b"[" + b'{"producer":"ci","content":"x"},' * 20_001, 413),
        ("application/x-ndjson", b"1\n" * 50_000, 422),
    ],
)
async def test_a_body_that_cannot_be_accepted_is_refused_before_the_rest_of_it_has_come(
    api: Api, type_: str, begin: bytes, status: int
) -> None:
    url = httpx.URL(api.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"POST /api/v1/messages HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {api.tokens['push']}\r\n"
        f"Content-Type: {type_}\r\nContent-Length: 16000000\r\n\r\n".encode()
    )
    writer.write(begin)
    head = await reader.readuntil(b"\r\n\r\n")  # while the rest is not sent
    writer.close()
    assert head.startswith(b"HTTP/1.1 %d" % status)


async def test_requests_at_the_same_moment_are_all_accepted(api: Api) -> None:
    async with api.client("push") as ci:
        answers = await asyncio.gather(*(ci.post("/api/v1/messages", json=GOOD) for _ in range(60)))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["messages"][0]["id"] for answer in answers}
    assert len(ids) == 60
    there = {orjson.loads(record.value)["id"] for record in await read_all(api.settings, "messages")}
    assert ids <= there
