"""`POST /hooks/{door}/{producer}`: who may, what a producer gets, and what becomes of what it gives. On one broker."""

import base64
import gzip
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.http.signed import sign
from control_api.migrate import upgrade
from control_api.registry import load_registry
from control_api.rest import door
from notifier.database import Database
from notifier.plugin import SCHEMES, SignatureScheme
from notifier.record import JsonObject
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.door_types import PASSWORD, Telling
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.problems import pointers, problem
from tests.rigs.rest_rig import Rest, serving

SCOPES = ("push", "write", "admin")
CUSTOM = {
    "header": "X-Mine",
    "algorithm": "sha512",
    "encoding": "base64",
    "prefix": "v=",
    "signed": "{timestamp}{body}",
}
CUSTOM |= {"timestamp_header": "X-Mine-Time"}
PLAIN = {"header": "X-Door", "algorithm": "none"}
PRODUCERS: list[JsonObject] = [
    {"name": "open", "type": "telling"},
    {"name": "signed", "type": "telling", "parameters": {"webhook_secret": "new", "webhook_secret_old": "old"}},
    {"name": "slack", "type": "telling", "parameters": {"webhook_secret": "new", "signature": "slack"}},
    {"name": "gitlab", "type": "telling", "parameters": {"webhook_secret": "new", "signature": "gitlab"}},
    {"name": "mine", "type": "telling", "parameters": {"webhook_secret": "new", "signature": CUSTOM}},
    {"name": "plain", "type": "telling", "parameters": {"webhook_secret": "new", "signature": PLAIN}},
    {"name": "ended", "type": "telling", "parameters": {"webhook_secret_old": "old"}},
    {"name": "ci", "type": "push"},
]


@pytest.fixture
async def rest(settings: Settings) -> AsyncIterator[Rest]:
    """The API with `PRODUCERS`, ready."""
    registry = load_registry().with_plugins(Telling)
    await upgrade(settings)
    database = Database(settings)
    services = Services(database, registry, load_seal(settings))
    for written in PRODUCERS:
        await services.create(COMMAND_LINE, "producer", written)
    await database.close()
    bearer = {scope: await tokens.create_token(settings, name=scope, scopes=[scope]) for scope in SCOPES}
    bearer["bound"] = await tokens.create_token(settings, name="bound", scopes=[], producer="open")
    Telling.open = 0
    async with serving(create_app(settings, registry=registry), bearer) as rest:

        async def is_ready() -> bool:
            return (await rest.client(None).get("/health/ready")).status_code == 200

        await wait_until(is_ready)
        yield rest
    assert Telling.open == 0  # each is closed


async def test_hooks_come_in_by_doors(rest: Rest, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    await _who_may(rest)
    await _signed(rest)
    await _tokens_of_one_producer(rest)
    accepted = await _what_is_given(rest)
    await _what_is_raised(rest)
    assert await _sent_again(rest) == 1
    assert PASSWORD not in caplog.text
    assert caplog.text.count("open says: all is well") == 1
    records = [json.loads(record.value or b"") for record in await read_all(settings, "messages")]
    assert {one["id"] for one in records} >= {one["id"] for one in accepted}
    odd = next(one for one in records if "fits no message" in one["content"])
    assert '"severity": "awful"' in odd["content"].replace("'", '"')
    told = next(one for one in records if one["content"] == "open at tell" and "q" in one["labels"])
    assert told["labels"] == {"q": "1", **{name: told["labels"][name] for name in told["labels"] if "header" in name}}
    assert (told["labels"]["header x-event"], told["labels"]["header x-event-key"]) == ("built", "repo:push")
    names = {name for one in records for name in one.get("labels", {})}
    secret = ("authorization", "token", "cookie", "signature", "api-key", "x-mine", "x-door")
    assert [name for name in names if any(word in name and name != "header x-mine-time" for word in secret)] == []


async def post(
    asking: httpx.AsyncClient, path: str, body: object = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()
    return await asking.post(
        f"/hooks/{path}", content=content, headers={"Content-Type": "application/json", **(headers or {})}
    )


def basic(password: str, name: str = "alertmanager") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


async def _who_may(rest: Rest) -> None:
    nobody, push = rest.client(None), rest.client("push")
    token = push.headers["Authorization"].removeprefix("Bearer ")
    assert (await post(push, "tell/open")).status_code == 202
    for name in ("", "alertmanager"):
        assert (await post(nobody, "tell/open", headers=basic(token, name))).status_code == 202
    headers = {
        "X-Event": "built",
        "X-Event-Key": "repo:push",
        "X-Api-Key": "x",
        "Cookie": "a=b",
        "X-Token": "x",
        "X-Hub-Signature-256": "sha256=00",
    }
    assert (await post(push, "tell/open?q=1", headers=headers)).status_code == 202
    problem(await post(nobody, "tell/open"), 401)
    for wrong in (token[:-1], token + "a", "", "ü"):
        problem(await post(nobody, "tell/open", headers=basic(wrong)), 401)
    problem(await post(nobody, "tell/open", headers={"Authorization": "Basic %"}), 401)
    problem(await post(rest.client("write"), "tell/open"), 403)
    problem(await post(push, "tell/nobody"), 404)
    problem(await post(push, "other/open"), 404)
    problem(await post(push, "tell/ci"), 404)
    problem(await nobody.post("/api/v1/messages", json={"producer": "ci", "content": "x"}, headers=basic(token)), 401)
    # What is said to who has no token does not depend on whether there is such a producer, or how it is signed.
    for given in ({}, {"X-Hub-Signature-256": "sha256=00"}, {"X-Slack-Signature": "v0=00"}, {"X-Mine": "v=00"}):
        texts = {
            (await post(nobody, f"tell/{name}", headers=given)).text
            for name in ("open", "signed", "slack", "mine", "no")
        }
        assert len(texts) == 1, given


async def _signed(rest: Rest) -> None:
    nobody, body = rest.client(None), b'{"a": 1}'
    now = str(int(time.time()))
    github, slack = SCHEMES["github"], SCHEMES["slack"]
    for secret in ("new", "old"):
        assert (await post(nobody, "tell/signed", body, sign(github, secret, body))).status_code == 202
    packed = {"Content-Encoding": "gzip", **sign(slack, "new", body, timestamp=now)}
    assert (await post(nobody, "tell/slack", gzip.compress(body), packed)).status_code == 202
    assert (await post(nobody, "tell/gitlab", body, {"X-Gitlab-Token": "new"})).status_code == 202
    assert (await post(nobody, "tell/plain", body, {"X-Door": "new"})).status_code == 202
    problem(await post(nobody, "tell/plain", body, {"X-Door": "old"}), 401)
    mine = SignatureScheme.model_validate(CUSTOM)
    assert (await post(nobody, "say/mine", body, sign(mine, "new", body, timestamp=now))).status_code == 202
    push = rest.client("push")
    for producer, given in (
        ("signed", sign(github, "older", body)),
        ("slack", sign(github, "new", body)),  # not its scheme
        ("slack", sign(slack, "new", body, timestamp="1531420618")),  # long ago
        ("gitlab", {"X-Gitlab-Token": "ne"}),
        ("mine", sign(mine, "old", body, timestamp=now)),
        ("ended", sign(github, "old", body)),  # the new one was cleared
    ):
        problem(await post(nobody, f"tell/{producer}", body, given), 401)
    problem(await post(push, "tell/slack", body, sign(slack, "old", body, timestamp=now)), 401)
    assert (await post(push, "tell/slack", body, sign(github, "any", body))).status_code == 202
    # A rotation: the new secret is written, the one before goes on, and is cleared.
    admin = rest.client("admin")
    change = {"parameters": {"webhook_secret": "newest", "webhook_secret_old": "new"}}
    assert (await admin.patch("/api/v1/producers/signed", json=change)).status_code == 200
    for secret, status in (("newest", 202), ("new", 202), ("old", 401)):
        assert (await post(nobody, "tell/signed", body, sign(github, secret, body))).status_code == status
    change = {"parameters": {"webhook_secret_old": None}}  # type: ignore[dict-item]
    shown = (await admin.patch("/api/v1/producers/signed", json=change)).json()
    assert shown["parameters"]["webhook_secret"] == {"set": True}
    assert (await post(nobody, "tell/signed", body, sign(github, "new", body))).status_code == 401
    wrong = {"parameters": {"signature": {"header": "X-S", "signed": "x"}}}
    assert pointers(await admin.patch("/api/v1/producers/open", json=wrong))[0].startswith("/parameters/signature")


async def _tokens_of_one_producer(rest: Rest) -> None:
    bound = rest.client("bound")
    token = bound.headers["Authorization"].removeprefix("Bearer ")
    assert (await post(bound, "tell/open")).status_code == 202
    assert (await post(rest.client(None), "tell/open", headers=basic(token))).status_code == 202
    for path in ("tell/signed", "json/ci", "github/ci", "tell/nobody"):
        problem(await post(bound, path), 403)
    problem(await bound.get("/api/v1/producers"), 403)
    mine, other = {"producer": "open", "content": "x"}, {"producer": "ci", "content": "x"}
    assert (await bound.post("/api/v1/messages", json=mine)).status_code == 202
    for several in (other, [mine, other]):
        problem(await bound.post("/api/v1/messages", json=several), 403)


async def _what_is_given(rest: Rest) -> list[dict[str, Any]]:
    push = rest.client("push")
    many = [{"content": f"line {number}", "id": f"many-{number}", "receiver": "alice"} for number in range(500)]
    given = [
        *many,
        {"content": "x", "severity": "awful", "id": "odd"},
        {"content": "y" * 1_000_000},
        {"content": "last"},
    ]
    answer = await post(push, "tell/open", {"give": given, "detail": f"3 are odd, {PASSWORD}"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == len(given) == len({one["id"] for one in answer.json()["messages"]})
    assert answer.json()["detail"] == "3 are odd, ***"
    none = await post(push, "tell/open", {"give": [], "detail": "nothing new"})
    assert none.json() == {"accepted": 0, "messages": [], "detail": "nothing new"}
    for type_, body in (
        ("text/plain", b"disk full"),
        ("application/x-www-form-urlencoded", b"payload=%7B%22give%22%3A%5B%5D%7D"),
        ("application/vnd.x+json", b"[1]"),
        ("", b"7"),
    ):
        answer = await post(push, "say/open", body, {"Content-Type": type_} if type_ else {})
        assert answer.status_code == 202, answer.text
    problem(await post(push, "say/open", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}), 415)
    problem(await post(push, "say/open", b"{"), 400)
    problem(await post(push, "say/open", b""), 400)
    large = await post(push, "tell/open", {"more": "x" * 6_000_000})
    assert large.status_code == 202
    problem(await post(push, "tell/open", {"more": "x" * 17_000_000}), 413)
    return [{"id": one["id"]} for one in many]


async def _what_is_raised(rest: Rest) -> None:
    push = rest.client("push")
    assert pointers(await post(push, "tell/open", {"raise": "input"})) == ["/raise"]
    for name, status in (("input", 422), ("record", 422), ("permanent", 422), ("retryable", 503), ("bug", 500)):
        answer = await post(push, "tell/open", {"raise": name})
        problem(answer, status)
        assert PASSWORD not in answer.text
    assert (await post(push, "tell/signed", {"raise": "notice"})).status_code == 202  # what it says is logged


async def _sent_again(rest: Rest) -> int:
    push = rest.client("push")
    answers = [await post(push, "tell/open", {"a": 1}, {"Idempotency-Key": "once"}) for _ in range(2)]
    return len({answer.text for answer in answers})


async def test_a_large_form_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, read = [], door._form_payload

    def watched(body: bytes) -> bytes | None:
        threads.append(threading.current_thread())
        return read(body)

    monkeypatch.setattr(door, "_form_payload", watched)
    text = '"' + "é" * 200_000 + '"'
    assert await door.read_payload(door.FORM, urlencode({"payload": text}).encode()) == (text[1:-1], text.encode())
    assert threads
    assert threading.main_thread() not in threads
