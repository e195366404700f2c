"""`POST /hooks/json/{producer}`: signatures, and any JSON as a message."""

import gzip
import json
import zlib
from typing import Any

import httpx
import pytest

from control_api.app import create_app
from control_api.http.signature import HEADER, sign
from control_api.rest.hooks import as_message
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.settings import Settings
from tests.rigs.definition_cases import SECRET
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until
from tests.rigs.problems import pointers, problem
from tests.rigs.rest_rig import address, prepare, serving


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"content": "hello"}', {"producer": "ci", "content": "hello"}),
        (' {"content": "hello", "extra": 1e400} ', {"producer": "ci", "content": "hello", "extra": float("inf")}),
        ('{"content": "x", "producer": "ci"}', {"producer": "ci", "content": "x"}),
        ('{"text": "hi", "n": [1, 2]}', {"producer": "ci", "content": '{"text":"hi","n":[1,2]}'}),
        (
            '{"n": 123456789012345678901234567890}',
            {"producer": "ci", "content": '{"n":123456789012345678901234567890}'},
        ),
        ('[{"content": "a"}, {"content": "b"}]', {"producer": "ci", "content": '[{"content":"a"},{"content":"b"}]'}),
        ('"two  words"', {"producer": "ci", "content": '"two  words"'}),
        ("{}", {"producer": "ci", "content": "{}"}),
        (
            '{"username":"monitor","content":null,"embeds":[{"title":"Service down"}]}',
            {"producer": "ci", "content": '{"username":"monitor","content":null,"embeds":[{"title":"Service down"}]}'},
        ),
        (
            '{"id":123,"content":{"rendered":"<p>Hi</p>"}}',
            {"producer": "ci", "content": '{"id":123,"content":{"rendered":"<p>Hi</p>"}}'},
        ),
        ('{"content":7}', {"producer": "ci", "content": '{"content":7}'}),
        ('{"content":["a"]}', {"producer": "ci", "content": '{"content":["a"]}'}),
        ('{"content":"x","id":5}', {"producer": "ci", "content": '{"content":"x","id":5}'}),
        ('{"content":"x","labels":["a"]}', {"producer": "ci", "content": '{"content":"x","labels":["a"]}'}),
        (
            '{"content":"x","sender":{"login":"a"}}',
            {"producer": "ci", "content": '{"content":"x","sender":{"login":"a"}}'},
        ),
        ('{"content":"x","producer":{"a":1}}', {"producer": "ci", "content": '{"content":"x","producer":{"a":1}}'}),
        ('{"content":"","title":null,"producer":null}', {"producer": "ci", "content": "", "title": None}),
        ('{"content":"x","labels":{"a":null}}', {"producer": "ci", "content": "x", "labels": {"a": None}}),
        ("null", {"producer": "ci", "content": "null"}),
    ],
)
def test_any_json_is_a_message(body: str, message: JsonObject) -> None:
    assert json.loads(as_message("ci", body.encode())) == message


NOTE = '{"Type":"Notification","Message":"disk full"}'
UMLAUT = '{"a":"ü"}'
TYPES: list[tuple[str, bytes, int, str | None]] = [
    ("text/plain; charset=UTF-8", NOTE.encode(), 202, NOTE),
    ("application/vnd.docker.distribution.events.v1+json", NOTE.encode(), 202, NOTE),
    ("application/cloudevents+json; charset=UTF-8", NOTE.encode(), 202, NOTE),
    ("application/vnd.api+json", NOTE.encode(), 202, NOTE),
    ("text/json", NOTE.encode(), 202, NOTE),
    ("application/x-ndjson", NOTE.encode() + b"\n", 202, NOTE),
    ("application/json; charset=us-ascii", NOTE.encode(), 202, NOTE),
    ('application/json; charset="utf-8"', b"\xef\xbb\xbf" + NOTE.encode(), 202, NOTE),
    ("application/json; charset=ISO-8859-1", UMLAUT.encode("latin-1"), 202, UMLAUT),
    ("application/json; charset=ISO-8859-1", UMLAUT.encode(), 202, UMLAUT),
    ("text/plain; charset=utf-16", UMLAUT.encode("utf-16"), 202, UMLAUT),
    ("application/octet-stream", NOTE.encode(), 202, NOTE),
    ("application/x-www-form-urlencoded", NOTE.encode(), 202, NOTE),
    ("", NOTE.encode(), 202, NOTE),
    ("text/plain", b"disk full", 415, None),
    ("application/x-www-form-urlencoded", b"payload=%7B%22a%22%3A%22%C3%BC%22%7D&token=x", 202, UMLAUT),
    ("application/x-www-form-urlencoded", b"text=%7B%7D", 415, None),
    ("application/x-www-form-urlencoded", b"payload=%7B", 400, None),
    ("application/x-ndjson", b"{}\n{}", 415, None),
    ("application/vnd.api+json", b"disk full", 400, None),
    ("application/json; charset=utf-16", b"\xff\xfe{", 400, None),
    ("text/plain; charset=nonsense", b"\xff", 415, None),
]


async def _by_any_media_type(push: httpx.AsyncClient) -> None:
    for type_, content, status, _ in TYPES:
        headers = {"Content-Type": type_} if type_ else {}
        answer = await push.post("/hooks/json/typed", content=content, headers=headers)
        assert answer.status_code == status, (type_, content, answer.text)
    headers = {"Content-Type": "text/plain", "Content-Encoding": "deflate"}
    packed = zlib.compress(b'{"content": "packed"}')
    assert (await push.post("/hooks/json/typed", content=packed, headers=headers)).status_code == 202
    problem(await push.post("/hooks/json/typed", content=packed[:-3], headers=headers), 400)
    problem(await push.post("/hooks/json/typed", content=packed, headers=headers | {"Content-Encoding": "br"}), 415)


async def test_hooks_bring_messages(settings: Settings, registry: Registry) -> None:
    bearer = await prepare(settings, registry)
    app = create_app(settings, registry=registry)
    async with serving(app, bearer) as rest:
        admin, push, nobody = rest.client(), rest.client("push"), rest.client(None)
        await admin.post(address("producer"), json={"name": "open", "type": "push"})
        await admin.post(address("producer"), json={"name": "typed", "type": "push"})
        await admin.post(address("producer"), json={"name": "pulled", "type": "pulled"})

        async def is_ready() -> bool:
            return (await nobody.get("/health/ready")).status_code == 200

        await wait_until(is_ready)
        body = b'{"content": "signed", "title": "A", "id": "7"}'
        json_ = {"Content-Type": "application/json"}

        async def hook(asking: httpx.AsyncClient, producer: str, signature: str | None = None, **more: Any) -> Any:
            headers = json_ | ({} if signature is None else {HEADER: signature}) | more.pop("headers", {})
            return await asking.post(f"/hooks/json/{producer}", content=more.pop("content", body), headers=headers)

        right = sign(SECRET, body)
        assert right.startswith("sha256=")
        accepted = await hook(nobody, "ci", right)
        assert accepted.status_code == 202, accepted.text
        assert accepted.json() == {"accepted": 1, "messages": [{"id": "7"}]}
        zipped = gzip.compress(body)
        packed: dict[str, Any] = {"content": zipped, "headers": {"Content-Encoding": "gzip"}}
        for signed in (body, zipped):  # as it was before, and as it came
            assert (await hook(nobody, "ci", sign(SECRET, signed), **packed)).status_code == 202
        problem(await hook(nobody, "ci", sign("another", body), **packed), 401)
        upper = await hook(nobody, "ci", right.upper(), content=body)
        assert upper.status_code == 202

        # A signature that is there must be right, whoever sends it.
        wrong = [sign("another", body), sign(SECRET, body + b" "), right[:-1], "sha256=", "", right.partition("=")[2]]
        for signature in wrong:
            for asking in (nobody, push, admin):
                problem(await hook(asking, "ci", signature), 401)
        for producer in ("open", "nothing", "disk", "no%20name"):
            problem(await hook(nobody, producer, right), 401)
        problem(await hook(nobody, "ci"), 401)
        problem(await hook(rest.client("write"), "ci"), 403)
        problem(await hook(rest.client("write"), "open", right), 403)

        # With a token
        other = await hook(push, "open", content=b'{"alert": [1, 2]}')
        assert other.status_code == 202
        assert len(other.json()["messages"]) == 1
        assert (await hook(push, "open", right, content=b'"x"')).status_code == 202  # no secret to check it with
        problem(await hook(push, "nothing"), 404)
        assert pointers(await hook(push, "pulled")) == ["/producer"]
        assert pointers(await hook(push, "open", content=b'{"content": "x", "producer": "ci"}')) == ["/producer"]
        assert pointers(await hook(push, "open", content=b'{"content": "x", "severity": "awful"}')) == ["/severity"]
        problem(await hook(push, "open", content=b""), 400)
        problem(await hook(push, "open", content=b"{"), 400)
        await _by_any_media_type(push)
        problem(await hook(push, "open", content=json.dumps("x" * 900_000).encode()), 413)

        # The same key, the same message
        once = [await hook(push, "open", content=b"[]", headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert once[0].json() == once[1].json()

        # A secret that is changed, or cleared, counts at once.
        await admin.patch(address("producer", "ci"), json={"parameters": {"webhook_secret": "another"}})
        problem(await hook(nobody, "ci", right), 401)
        assert (await hook(nobody, "ci", sign("another", body))).status_code == 202
        await admin.patch(address("producer", "ci"), json={"parameters": {"webhook_secret": None}})
        problem(await hook(nobody, "ci", sign("another", body)), 401)

        await wait_for_records(settings, "messages", 6)
        all_ = [json.loads(record.value or b"") for record in await read_all(settings, "messages")]
        written = [one for one in all_ if one["producer"] != "typed"]
        assert sorted(one["content"] for one in all_ if one["producer"] == "typed") == sorted(
            [content for *_, content in TYPES if content] + ["packed"]
        )
    contents = sorted((one["producer"], one["content"]) for one in written)
    assert contents == [
        *[("ci", "signed")] * 5,
        ("open", '"x"'),
        ("open", "[]"),
        ("open", '{"alert":[1,2]}'),
    ]
    assert all(one["id"] for one in written)
