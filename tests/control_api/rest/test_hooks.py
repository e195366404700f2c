"""`POST /hooks/json/{producer}`: signatures, and any JSON as a message."""

import json
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
        ("null", {"producer": "ci", "content": "null"}),
    ],
)
def test_any_json_is_a_message(body: str, message: JsonObject) -> None:
    assert json.loads(as_message("ci", body.encode(), json.loads(body))) == message


async def test_hooks_bring_messages(settings: Settings, registry: Registry) -> None:
    bearer = await prepare(settings, registry)
    app = create_app(settings, registry=registry)
    async with serving(app, bearer) as rest:
        admin, push, nobody = rest.client(), rest.client("push"), rest.client(None)
        await admin.post(address("producer"), json={"name": "open", "type": "push"})
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
        assert pointers(await hook(push, "open", content=b'{"content": 7}')) == ["/content"]
        assert pointers(await hook(push, "open", content=b'{"content": "x", "producer": "ci"}')) == ["/producer"]
        assert pointers(await hook(push, "open", content=b'{"content": "x", "severity": "awful"}')) == ["/severity"]
        problem(await hook(push, "open", content=b""), 400)
        problem(await hook(push, "open", content=b"{"), 400)
        problem(await hook(push, "open", headers={"Content-Type": "text/plain"}), 415)
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
        written = [json.loads(record.value or b"") for record in await read_all(settings, "messages")]
    contents = sorted((one["producer"], one["content"]) for one in written)
    assert contents == [
        *[("ci", "signed")] * 3,
        ("open", '"x"'),
        ("open", "[]"),
        ("open", '{"alert":[1,2]}'),
    ]
    assert all(one["id"] for one in written)
