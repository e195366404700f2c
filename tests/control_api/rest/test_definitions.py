"""Definitions over REST, and hooks. The table of cases is shared with GraphQL; here is also what only HTTP has."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from pydantic import Field, SecretStr

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE, SCOPES
from control_api.app import create_app
from control_api.definitions import verification
from control_api.definitions.services import Services
from control_api.definitions.spec import name_field
from control_api.http.signature import HEADER, sign
from control_api.migrate import upgrade_database
from control_api.registry import load_registry
from control_api.rest.hooks import as_message
from notifier.database import SQLITE_FILE, Database
from notifier.errors import FieldError, InputError, Permanent, Retryable
from notifier.outcome import KINDS, Kind
from notifier.plugin import Consumer, ConsumerParameters, Context, Parameters, Producer
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from tests.rigs.definition_cases import BASE, PARAMETERS, SECRET, Case
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until

TOKEN = "the-token-of-the-service"


class CheckedParameters(ConsumerParameters):
    token: SecretStr | None = None
    mood: str = "good"
    script: str | None = Field(None, description="Asked for by the check.")


class _Checks:
    """Stands for a service: what `check` finds is the parameter `mood`."""

    started: asyncio.Event
    go_on: asyncio.Event
    closed = 0
    asked = 0

    @classmethod
    async def find(cls, parameters: CheckedParameters, context: Context) -> None:
        cls.asked += 1
        token = parameters.token.get_secret_value() if parameters.token else ""
        match parameters.mood:
            case "wrong token":
                raise Permanent("unauthorized", f"Bad credentials: {token}")
            case "no such chat":
                raise Permanent("not_found", "chat not found")
            case "busy":
                raise Retryable("rate_limited", "too many requests", 7)
            case "field":
                raise InputError(FieldError("/parameters/mood", f"is not one that {token} may have"))
            case "broken":
                raise RuntimeError(f"{token}\nis no good")
            case "hangs":
                await asyncio.Event().wait()
            case "waits":
                cls.started.set()
                await cls.go_on.wait()
            case "script":
                assert parameters.script is not None
                assert context.script(parameters.script).content == "true"
            case "services":
                assert context.services["github"].startswith("https://")

    async def close(self) -> None:
        """Counts."""
        _Checks.closed += 1


class CheckedProducer(_Checks, Producer[CheckedParameters]):
    """A producer that can be checked."""

    type = "checked"
    Parameters = CheckedParameters

    async def check(self, context: Context) -> None:
        """Asks."""
        await self.find(self.parameters, context)


class CheckedConsumer(_Checks, Consumer[CheckedParameters]):
    """A consumer that can be checked."""

    type = "checked"
    Parameters = CheckedParameters

    async def check(self, context: Context) -> None:
        """Asks."""
        await self.find(self.parameters, context)


class Pulled(Producer[Parameters]):
    """Fetches its messages."""

    type = "pulled"
    Parameters = Parameters


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry().with_plugins(CheckedProducer, CheckedConsumer, Pulled)


class Rest:
    """A running API and clients of every scope."""

    def __init__(self, app: FastAPI, bearer: dict[str, str]) -> None:
        self._app, self._bearer = app, bearer
        self._clients: dict[str | None, httpx.AsyncClient] = {}

    def client(self, scope: str | None = "admin") -> httpx.AsyncClient:
        """Whose token has that scope alone; None: without a token."""
        if scope not in self._clients:
            headers = {} if scope is None else {"Authorization": f"Bearer {self._bearer[scope]}"}
            transport = httpx.ASGITransport(app=self._app)
            self._clients[scope] = httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)
        return self._clients[scope]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()


async def _prepare(settings: Settings, registry: Registry) -> dict[str, str]:
    """Puts `BASE` and a token for each scope into the database."""
    database = Database(settings)
    try:
        await upgrade_database(database)
        services = Services(database, registry, load_seal(settings))
        for kind, written in BASE:
            await services.create(COMMAND_LINE, kind, dict(written))
    finally:
        await database.close()
    return {scope: await tokens.create_token(settings, name=scope, scopes=[scope]) for scope in SCOPES}


@asynccontextmanager
async def _serving(app: FastAPI, bearer: dict[str, str]) -> AsyncIterator[Rest]:
    async with app.router.lifespan_context(app):
        rest = Rest(app, bearer)
        try:
            yield rest
        finally:
            await rest.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[FastAPI, Path, dict[str, str]]:
    """An app, a copy of its database with `BASE` in it, and its tokens. There is no broker, and none is needed."""
    folder = tmp_path_factory.mktemp("rest")
    settings = load_settings(
        env_file=None, data_dir=folder, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )
    bearer = asyncio.run(_prepare(settings, registry))
    shutil.copy(folder / SQLITE_FILE, folder / "base")
    return create_app(settings, registry=registry), folder, bearer


@pytest.fixture
async def rest(prepared: tuple[FastAPI, Path, dict[str, str]]) -> AsyncIterator[Rest]:
    """The API, with nothing but `BASE` defined."""
    app, folder, bearer = prepared
    for leftover in folder.glob(f"{SQLITE_FILE}*"):
        leftover.unlink()
    shutil.copy(folder / "base", folder / SQLITE_FILE)
    async with _serving(app, bearer) as rest:
        yield rest


def problem(response: httpx.Response, status: int) -> JsonObject:
    """The problem that an answer is."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: JsonObject = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


def pointers(response: httpx.Response) -> list[str]:
    """Which fields a 422 names."""
    return sorted(error["pointer"] for error in problem(response, 422)["errors"])


def address(kind: Kind, name: str = "") -> str:
    return f"/api/v1/{kind}s" + (f"/{quote(name, safe='')}" if name else "")


# ----------------------------------------------------------------------------------------------------- the shared table

STATUS = {"unknown": 404, "conflict": 409, "stale": 412, "forbidden": 403, "invalid": 422}


async def _ask(rest: Rest, case: Case) -> httpx.Response:
    path = address(case.kind, case.name)
    headers = {}
    if case.if_match != "none":
        tag = (await rest.client().get(path)).headers["etag"]
        if case.if_match == "stale":
            field: JsonObject = (
                {"title": "Meanwhile"} if case.kind != "user" else {"additional_info": {"meanwhile": {}}}
            )
            assert (await rest.client().patch(path, json=field)).status_code == 200
        headers["If-Match"] = tag
    asking = rest.client(case.scope)
    match case.do:
        case "create":
            return await asking.post(path, json=case.written, headers=headers)
        case "update":
            return await asking.patch(path, json=case.written, headers=headers)
        case "delete":
            return await asking.delete(path, headers=headers)
        case _:
            return await asking.get(path, params=dict(case.written), headers=headers)


async def _everything(rest: Rest) -> list[JsonObject]:
    reader = rest.client("read")
    return [item for kind in KINDS for item in (await reader.get(address(kind))).json()["items"]]


@pytest.mark.parametrize("case", PARAMETERS)
async def test_definitions(rest: Rest, case: Case) -> None:
    before = await _everything(rest)
    answer = await _ask(rest, case)
    assert SECRET not in answer.text
    if case.expect != "done":
        problem(answer, STATUS[case.expect])
        if case.expect == "invalid":
            assert pointers(answer) == sorted(case.pointers)
        if case.if_match == "none":
            assert await _everything(rest) == before
        return
    match case.do:
        case "delete":
            assert (answer.status_code, answer.content) == (204, b"")
            problem(await rest.client("read").get(address(case.kind, case.name)), 404)
        case "list":
            found = answer.json()
            assert [item[name_field(case.kind)] for item in found["items"]] == list(case.names)
        case _:
            assert answer.status_code == (201 if case.do == "create" else 200), answer.text
            shown = answer.json()
            assert {key: shown[key] for key in case.shows} == case.shows
            name = shown[name_field(case.kind)]
            again = await rest.client("read").get(address(case.kind, name))
            assert (again.json(), again.headers["etag"]) == (shown, answer.headers["etag"])


# ------------------------------------------------------------------------------------------------------ what HTTP has

NEW: dict[Kind, JsonObject] = {
    "user": {"username": "zoë+1@x.org"},
    "script": {"name": "zoe", "content": "true"},
    "producer": {"name": "zoe", "type": "push", "parameters": {"webhook_secret": "a secret"}},
    "filter": {"name": "zoe", "type": "severity", "parameters": {"at_least": "error"}},
    "consumer": {"name": "zoe", "type": "script", "parameters": {"script": "unused"}},
    "configuration": {"name": "zoe", "users": ["alice"], "schedule": {"cron": "@daily"}},
}


@pytest.mark.predecessor("S-5", "S-7", "S-8", "S-53", "S-63", "S-77")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_definition_lives_and_is_found_by_its_address(rest: Rest, kind: Kind) -> None:
    admin = rest.client()
    made = await admin.post(address(kind), json=NEW[kind])
    assert made.status_code == 201, made.text
    name = NEW[kind][name_field(kind)]
    assert httpx.URL(made.headers["location"]).path == f"/api/v1/{kind}s/{name}"
    shown = await admin.get(made.headers["location"])
    assert (shown.json(), shown.headers["etag"]) == (made.json(), made.headers["etag"])
    problem(await admin.post(address(kind), json=NEW[kind]), 409)

    # What is shown may be written back, secrets included; then nothing changes, nor does the version.
    path = made.headers["location"]
    same = await admin.put(path, json=shown.json())
    assert (same.status_code, same.json(), same.headers["etag"]) == (200, shown.json(), made.headers["etag"])
    nameless = {key: value for key, value in shown.json().items() if key != name_field(kind)}
    assert (await admin.put(path, json=nameless)).headers["etag"] == made.headers["etag"]

    field: JsonObject = {"on_leave": True} if kind == "user" else {"title": "Zoë"}
    changed = await admin.put(path, json={**nameless, **field})
    assert changed.status_code == 200
    assert changed.json() == {**shown.json(), **field}
    assert changed.headers["etag"] != made.headers["etag"]
    back = await admin.patch(path, json=dict.fromkeys(field))
    assert back.json() == shown.json()
    assert (await admin.delete(path)).status_code == 204
    for answer in (await admin.get(path), await admin.put(path, json=nameless), await admin.delete(path)):
        problem(answer, 404)


async def test_replacing_goes_back_to_defaults_and_keeps_secrets(rest: Rest) -> None:
    writer = rest.client("write")
    replaced = await writer.put(address("producer", "ci"), json={"type": "push"})
    assert replaced.json()["title"] is None
    assert replaced.json()["parameters"] == {"webhook_secret": {"set": True}}
    replaced = await writer.put(address("configuration", "main"), json={"consumers": ["to-file"]})
    assert (replaced.json()["users"], replaced.json()["schedule"]) == ([], None)
    assert pointers(await writer.put(address("producer", "ci"), json={"name": "other", "type": "push"})) == ["/name"]
    assert pointers(await writer.put(address("producer", "ci"), json={"type": "push", "colour": 1})) == ["/colour"]


async def test_if_match(rest: Rest) -> None:
    admin = rest.client()
    path = address("user", "alice")
    tag = (await admin.get(path)).headers["etag"]

    async def change(header: str, on_leave: bool) -> httpx.Response:
        return await admin.patch(path, json={"on_leave": on_leave}, headers={"If-Match": header})

    newest = tag
    for on_leave, header in enumerate(["{}", "*", '"x", {}', '"0",{} , W/"1"', ' "999999" , {} ']):
        answer = await change(header.format(newest), bool(on_leave % 2 == 0))
        assert answer.status_code == 200, (header, answer.text)
        newest = answer.headers["etag"]
    for header in (tag, f"W/{newest}", '"x"', f'"999999", {tag}', '""', f"W/{newest}, {tag}"):
        problem(await change(header, False), 412)
    for header in (newest.strip('"'), f"{newest},", "latest", f"{newest} {newest}"):
        assert "If-Match" in problem(await change(header, False), 400)["detail"]
    problem(await admin.put(path, json={}, headers={"If-Match": tag}), 412)
    problem(await admin.delete(address("user", "bob"), headers={"If-Match": tag}), 412)
    for header in (tag, '"x"', "*"):
        problem(await admin.delete(address("user", "nobody"), headers={"If-Match": header}), 404)
    assert (await admin.get(path)).headers["etag"] == newest


@pytest.mark.parametrize(
    ("method", "content_type", "body", "status"),
    [
        ("PATCH", "application/merge-patch+json", b'{"on_leave": true}', 200),
        ("PATCH", "application/json; charset=utf-8", b'{"on_leave": true}', 200),
        ("PATCH", "application/json-patch+json", b"[]", 415),
        ("PATCH", "text/plain", b"{}", 415),
        ("PUT", "application/merge-patch+json", b"{}", 415),
        ("POST", "application/merge-patch+json", b'{"username": "x"}', 415),
        ("POST", "application/x-www-form-urlencoded", b"username=x", 415),
        ("POST", "application/json", b"", 400),
        ("POST", "application/json", b"{", 400),
        ("POST", "application/json", b'{"username": "\xff"}', 400),
        ("PUT", "application/json", b'{"on_leave": NaN}', 400),
        ("PUT", "application/json", b"[" * 100 + b"]" * 100, 400),
        ("POST", "application/json", b"[]", 422),
        ("PUT", "application/json", b"null", 422),
        ("PATCH", "application/merge-patch+json", b"7", 422),
        ("PATCH", "application/json", b'{"additional_info": {"a": {"b": "\\u0000"}}}', 422),
        ("PUT", "application/json", b'{"additional_info": "' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
async def test_bodies(rest: Rest, method: str, content_type: str, body: bytes, status: int) -> None:
    path = address("user") if method == "POST" else address("user", "alice")
    answer = await rest.client().request(method, path, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    if status >= 400:
        problem(answer, status)


@pytest.mark.parametrize(
    ("method", "path", "pointer"),
    [
        ("GET", "/api/v1/users?limit=0", "/limit"),
        ("GET", "/api/v1/users?limit=many", "/limit"),
        ("GET", "/api/v1/users?cursor=%21", "/cursor"),
        ("GET", "/api/v1/users?name=alice", "/name"),
        ("POST", "/api/v1/users?verify=true", "/verify"),
        ("POST", "/api/v1/producers?verify=perhaps", "/verify"),
        ("PATCH", "/api/v1/filters/loud?verify=true", "/verify"),
        ("PUT", "/api/v1/consumers/to-file?check=true", "/check"),
    ],
)
async def test_unknown_parameters_are_refused(rest: Rest, method: str, path: str, pointer: str) -> None:
    body: JsonObject | None = None if method == "GET" else {}
    assert pointers(await rest.client().request(method, path, json=body)) == [pointer]


async def test_a_list_is_read_page_by_page(rest: Rest) -> None:
    admin = rest.client()
    names = [f"{'ж' * 148}{number:02}" for number in range(5)]  # as long as a name may be, two bytes a letter
    for name in names:
        assert (await admin.post(address("user"), json={"username": name})).status_code == 201
    assert (await admin.get(address("user", names[0]))).json()["username"] == names[0]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        asked = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        found = (await admin.get(address("user"), params=asked)).json()
        assert len(found["items"]) <= 2
        seen += [user["username"] for user in found["items"]]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert seen == ["alice", "bob", *names]


@pytest.mark.parametrize("name", ["no%2Fbody", "Nobody", "%00", "a%20b", "x" * 200, "%F0%9F%98%80"])
async def test_what_cannot_be_a_name_is_not_there(rest: Rest, name: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await rest.client().request(method, f"/api/v1/producers/{name}")
        problem(answer, 400 if name == "%00" else 404)


async def test_a_post_under_the_same_key_is_done_once(rest: Rest) -> None:
    writer = rest.client("write")
    headers = {"Idempotency-Key": "one"}
    first = await writer.post(address("user"), json={"username": "zoe"}, headers=headers)
    again = await writer.post(address("user"), json={"username": "zoe"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    for name in ("etag", "location"):
        assert again.headers[name] == first.headers[name]
    problem(await writer.post(address("user"), json={"username": "zac"}, headers=headers), 422)
    refused = await writer.post(address("user"), json={"username": "alice"}, headers={"Idempotency-Key": "two"})
    problem(refused, 409)


async def test_who_still_refers_to_it_is_told(rest: Rest) -> None:
    admin = rest.client()
    told = problem(await admin.delete(address("script", "disk-space")), 409)["detail"]
    assert "producer/disk" in told
    assert "consumer/to-file" in told


@pytest.mark.predecessor("S-67")
async def test_who_works_now_can_be_asked(rest: Rest) -> None:
    reader, path = rest.client("read"), f"{address('user', 'alice')}/working"
    assert (await reader.get(path)).json() == {"working": True, "reason": "ok"}
    assert (await reader.get(f"{address('user', 'bob')}/working")).json() == {"working": False, "reason": "on_leave"}
    night = {"start": "23:00", "end": "08:00", "days": ["mon"], "timezone": "Europe/Berlin"}
    assert (await rest.client("write").patch(address("user", "alice"), json={"working_time": night})).status_code == 200
    tuesday = "2026-11-24T{}:00Z"  # in Berlin it is an hour later
    for at, working in ((tuesday.format("06:59"), True), (tuesday.format("07:00"), False)):
        answer = await reader.get(path, params={"at": at})
        assert answer.json() == {"working": working, "reason": "ok" if working else "outside_hours"}
    problem(await reader.get(f"{address('user', 'nobody')}/working"), 404)
    assert pointers(await reader.get(path, params={"at": "2026-11-24T07:00:00"})) == ["/at"]


async def test_the_description_has_the_model_of_each_kind(rest: Rest) -> None:
    description = (await rest.client("read").get("/openapi.json")).json()
    schemas = description["components"]["schemas"]
    for kind in KINDS:
        model, field = kind.capitalize(), name_field(kind)
        assert schemas[model]["additionalProperties"] is False
        assert field in schemas[model]["required"]
        assert field not in schemas[f"{model}Replacement"]["required"]
        assert field in schemas[f"{model}Replacement"]["properties"]
        paths = description["paths"]
        one = paths[f"/api/v1/{kind}s/{{{field}}}"]
        assert {parameter["name"] for parameter in one["get"]["parameters"]} == {field}
        assert set(one["patch"]["requestBody"]["content"]) == {"application/merge-patch+json", "application/json"}
        for method in ("put", "patch", "delete"):
            assert "If-Match" in {parameter["name"] for parameter in one[method]["parameters"]}
            assert "412" in one[method]["responses"]
        create = paths[f"/api/v1/{kind}s"]["post"]
        asked = {parameter["name"] for parameter in create["parameters"]}
        assert ("verify" in asked) is (kind in ("producer", "consumer"))
        assert set(create["responses"]["201"]["headers"]) == {"ETag", "Location"}
        assert create["requestBody"]["content"]["application/json"]["schema"] == {
            "$ref": f"#/components/schemas/{model}"
        }


# ------------------------------------------------------------------------------------------- checked against a service

MOODS: Sequence[tuple[str, str, str | None]] = (
    # what the service says, where the error points, its words; None: it is content
    ("good", "", None),
    ("script", "", None),
    ("services", "", None),
    ("wrong token", "/parameters/token", "Bad credentials: ***"),
    ("no such chat", "/parameters", "chat not found"),
    ("busy", "/parameters", "too many requests"),
    ("field", "/parameters/mood", "is not one that *** may have"),
    ("broken", "/parameters", "the check failed: RuntimeError: *** is no good"),
    ("hangs", "/parameters", "the service did not answer within 0.1 s; try again, or save it without `verify`"),
)


def checked(mood: str) -> JsonObject:
    return {"type": "checked", "parameters": {"token": TOKEN, "mood": mood, "script": "unused"}}


@pytest.mark.predecessor("S-60")
@pytest.mark.parametrize(("mood", "pointer", "words"), MOODS, ids=[mood for mood, _, _ in MOODS])
@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_a_plugin_is_checked_before_it_is_saved(
    rest: Rest, monkeypatch: pytest.MonkeyPatch, kind: Kind, mood: str, pointer: str, words: str | None
) -> None:
    if mood == "hangs":
        monkeypatch.setattr(verification, "CHECK_S", 0.1)
    monkeypatch.setattr(_Checks, "closed", 0)
    writer, reader = rest.client("write"), rest.client("read")
    path, one = address(kind), address(kind, "x")

    def judged(answer: httpx.Response, status: int) -> bool:
        if words is None:
            assert answer.status_code == status, answer.text
            return True
        (error,) = problem(answer, 422)["errors"]
        assert (error["pointer"], error["detail"]) == (pointer, words)
        assert TOKEN not in answer.text
        return False

    if not judged(await writer.post(f"{path}?verify=true", json={"name": "x", **checked(mood)}), 201):
        problem(await reader.get(one), 404)
        assert (await writer.post(path, json={"name": "x", **checked("good")})).status_code == 201
    before = (await reader.get(one)).json()
    judged(await writer.put(f"{one}?verify=true", json={**checked(mood), "title": "New"}), 200)
    judged(await writer.patch(f"{one}?verify=true", json={"parameters": {"mood": mood}, "title": "New"}), 200)
    assert ((await reader.get(one)).json() == before) is (words is not None)
    assert _Checks.closed == 3
    assert (await writer.patch(one, json={"parameters": {"mood": mood}})).status_code == 200  # nobody is asked


async def test_a_check_sees_the_secret_that_is_kept(rest: Rest) -> None:
    writer = rest.client("write")
    await writer.post(address("consumer"), json={"name": "x", **checked("good")})
    patch = {"parameters": {"mood": "wrong token"}}
    (error,) = problem(await writer.patch(f"{address('consumer', 'x')}?verify=true", json=patch), 422)["errors"]
    assert (error["pointer"], error["detail"]) == ("/parameters/token", "Bad credentials: ***")


async def test_who_may_not_save_does_not_get_a_check(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Checks, "asked", 0)
    writer = rest.client("write")
    path = f"{address('producer')}?verify=true"
    problem(await rest.client("read").post(path, json={"name": "x", **checked("good")}), 403)
    problem(await writer.post(path, json={"name": "ci", **checked("good")}), 409)
    assert pointers(await writer.post(path, json={"name": "x", "type": "checked", "parameters": {"hue": 1}})) == [
        "/parameters/hue"
    ]
    open_ = {"name": "x", "type": "script", "parameters": {"script": "unused", "network": True}}
    problem(await writer.post(path, json=open_), 403)
    tag = {"If-Match": '"0"'}
    problem(await writer.put(f"{address('producer', 'ci')}?verify=true", json=checked("good"), headers=tag), 412)
    assert _Checks.asked == 0


async def test_others_write_while_a_service_is_asked(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Checks, "started", asyncio.Event(), raising=False)
    monkeypatch.setattr(_Checks, "go_on", asyncio.Event(), raising=False)
    writer = rest.client("write")
    one = address("producer", "x")
    await writer.post(address("producer"), json={"name": "x", **checked("waits")})
    asking = asyncio.create_task(writer.patch(f"{one}?verify=true", json={"title": "Mine"}))
    await wait_until(_Checks.started.is_set)
    # SQLite has one writer at a time: this would wait for it if the check held a transaction.
    assert (await writer.post(address("user"), json={"username": "zoe"})).status_code == 201
    assert (await writer.patch(one, json={"title": "Theirs"})).status_code == 200
    _Checks.go_on.set()
    assert "while it was being checked" in problem(await asking, 409)["detail"]
    assert (await writer.get(one)).status_code == 403
    assert (await rest.client("read").get(one)).json()["title"] == "Theirs"
    assert (await writer.patch(f"{one}?verify=true", json={"title": "Mine"})).status_code == 200


# -------------------------------------------------------------------------------------------------------------- hooks


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
    bearer = await _prepare(settings, registry)
    app = create_app(settings, registry=registry)
    async with _serving(app, bearer) as rest:
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
