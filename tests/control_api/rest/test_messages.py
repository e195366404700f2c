"""The control API's surface, over HTTP on a real server and a real broker: access, problems, messages, runs, the history."""

import asyncio
import io
import json
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from control_api.access import accounts, tokens
from control_api.access.actor import COMMAND_LINE, SCOPES, Actor, Scope
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.definitions.spec import name_field
from control_api.history import records
from control_api.history.follower import History
from control_api.http.auth import check_guarded
from control_api.http.guard import MAX_BODY_BYTES, MAX_MESSAGES_BYTES, MAX_REQUESTS
from control_api.intake.intake import UNKNOWN
from control_api.intake.occasion import Occasion
from control_api.migrate import upgrade
from control_api.models import AttemptRow, AuditRow, DeadLetterRow, HistoryOffsetRow, IdempotencyRow, TokenRow
from control_api.rest.pushed import read
from control_api.retention import prune
from control_api.serve import listen, serve
from notifier import log
from notifier.attempt import Attempt, Counter, Counters, Origin
from notifier.database import SQLITE_FILE, Database
from notifier.dead_letter import DeadLetter
from notifier.errors import Duplicate, Forbidden, InputError, UnknownName
from notifier.outcome import KINDS
from notifier.plugin import Consumer, ConsumerParameters, Parameters, Producer
from notifier.record import JsonObject, now, rfc3339
from notifier.registry import Registry
from notifier.run import ProducerRun, Run
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.kafka_tools import delete_topics, produce, read_all, wait_for_records, wait_until

pytest_plugins = ["tests.rigs.databases"]


class Pushed(Producer[Parameters]):
    """Takes pushes."""

    type = "pushed"
    Parameters = Parameters
    pull = False


class Pulled(Producer[Parameters]):
    """Fetches its messages."""

    type = "pulled"
    Parameters = Parameters


class Nowhere(Consumer[ConsumerParameters]):
    """Delivers nothing."""

    type = "nowhere"
    Parameters = ConsumerParameters


REGISTRY = Registry([Pushed, Pulled, Nowhere])


async def define(settings: Settings) -> None:
    """A producer of each kind and a configuration, straight into the database."""
    await upgrade(settings)
    database = Database(settings)
    try:
        services = Services(database, REGISTRY, load_seal(settings))
        await services.create(COMMAND_LINE, "producer", {"name": "ci", "type": "pushed"})
        await services.create(COMMAND_LINE, "producer", {"name": "reviews", "type": "pulled"})
        await services.create(COMMAND_LINE, "consumer", {"name": "chat", "type": "nowhere"})
        await services.create(
            COMMAND_LINE, "configuration", {"name": "to-chat", "producers": ["ci", "reviews"], "consumers": ["chat"]}
        )
    finally:
        await database.close()


@asynccontextmanager
async def running(settings: Settings, **options: Any) -> AsyncIterator[str]:
    """The address of an API served in this event loop."""
    listener = listen("127.0.0.1", 0)
    app = create_app(settings, registry=REGISTRY, **options)
    server = serve(app, listener)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: server.started or task.done())
        assert server.started, task
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


def client(url: str, token: str | None = None) -> httpx.AsyncClient:
    """A client with a token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=40)


@dataclass
class Api:
    """An API that runs in a thread for all tests of this file that do nothing to it."""

    url: str
    settings: Settings
    tokens: dict[str, str] = field(default_factory=dict)

    def client(self, scope: str = "admin") -> httpx.AsyncClient:
        """A client that may do what that scope says."""
        return client(self.url, self.tokens[scope])


@pytest.fixture(scope="module")
def api(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API, with `define` done and a token for each scope."""
    settings = load_settings(
        env_file=None,
        kafka=broker,
        topic_prefix=f"t{secrets.token_hex(4)}.",
        data_dir=tmp_path_factory.mktemp("api"),
        secret_key=generate_key(),
    )
    api = Api("", settings)
    up, down = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    async def main() -> None:
        await define(settings)
        for scope in SCOPES:
            api.tokens[scope] = await tokens.create_token(settings, name=f"all of {scope}", scopes=[scope])
        async with running(settings) as api.url:
            async with client(api.url) as asking:
                await wait_until(lambda: _ready(asking))
            up.set()
            await asyncio.to_thread(down.wait)
        await delete_topics(settings)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)
            up.set()
            raise

    thread = threading.Thread(target=work, name="api")
    thread.start()
    assert up.wait(60)
    assert not failed, failed
    yield api
    down.set()
    thread.join(60)
    assert not thread.is_alive()


async def _ready(asking: httpx.AsyncClient) -> bool:
    return (await asking.get("/health/ready")).status_code == 200


def problem(response: httpx.Response, status: int) -> JsonObject:
    """The problem that an answer is; fails when it is not a whole one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: JsonObject = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"] == "about:blank"
    assert body["detail"]
    return body


def pointers(response: httpx.Response) -> list[str]:
    """Which fields a 422 names."""
    return [error["pointer"] for error in problem(response, 422)["errors"]]


# ------------------------------------------------------------------------------------------------------------- access

NAMES = {kind: name_field(kind) for kind in KINDS}
SCOPE_OF = {
    **{f"GET /api/v1/{kind}s": "read" for kind in NAMES},
    **{f"GET /api/v1/{kind}s/{{{name}}}": "read" for kind, name in NAMES.items()},
    **{f"POST /api/v1/{kind}s": "admin" if kind == "script" else "write" for kind in NAMES},
    **{
        f"{method} /api/v1/{kind}s/{{{name}}}": "admin" if kind == "script" else "write"
        for kind, name in NAMES.items()
        for method in ("PUT", "PATCH", "DELETE")
    },
    "POST /hooks/json/{producer}": "push",
    "POST /api/v1/messages": "push",
    "POST /api/v1/configurations/{name}/run": "run",
    "POST /hooks/github/{producer}": "push",
    "GET /api/v1/configurations/{name}/schedule": "read",
    "GET /api/v1/users/{username}/working": "read",
    "GET /api/v1/attempts": "read",
    "GET /api/v1/dead_letters": "read",
    "GET /api/v1/dead_letters/{id}": "read",
    "GET /api/v1/runs": "read",
    "GET /api/v1/runs/{configuration}/{scheduled_at}": "read",
    "GET /api/v1/plugins": "read",
    "GET /api/v1/schemas": "read",
    "GET /api/v1/schemas/{name}": "read",
    "GET /api/v1/tokens": "admin",
    "POST /api/v1/tokens": "admin",
    "GET /api/v1/tokens/{id}": "admin",
    "DELETE /api/v1/tokens/{id}": "admin",
    "GET /openapi.json": "read",
    "GET /health/live": None,
    "GET /health/ready": None,
}


@pytest.mark.predecessor("S-62")
async def test_every_route_is_open_to_its_scope_and_to_no_other(api: Api) -> None:
    async with api.client("read") as reader:
        description = (await reader.get("/openapi.json")).json()
    routes = {f"{method.upper()} {path}" for path, one in description["paths"].items() for method in one}
    assert routes == set(SCOPE_OF), "say here which scope a new route needs"
    for route, needed in SCOPE_OF.items():
        method, path = route.split(" ")
        path = path.replace("{scheduled_at}", "2026-01-01T00:00:00Z")
        path = re.sub(r"\{\w+\}", "nobody", path)
        async with client(api.url) as nobody:
            answer = await nobody.request(method, path)
            assert (answer.status_code == 401) is (needed is not None), route
            if needed is not None:
                problem(answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        for scope in SCOPES:
            async with api.client(scope) as asking:
                answer = await asking.request(method, path)
            allowed = needed in (None, scope) or scope == "admin"
            assert (answer.status_code not in (401, 403)) is allowed, (route, scope, answer.text)
            if not allowed:
                problem(answer, 403)


def test_an_app_with_a_route_that_says_no_scope_does_not_start(settings: Settings) -> None:
    app = create_app(settings, registry=REGISTRY)

    @app.get("/secret")
    async def forgotten() -> str:
        return "everything"

    app.openapi_schema = None
    with pytest.raises(RuntimeError, match="GET /secret says no scope"):
        check_guarded(app)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer ntf_0123456789abcdef_" + "A" * 43,
        "Bearer ntf__",
        "Bearer " + "x" * 5000,
        "Bearer ntf_é",
    ],
)
async def test_what_is_no_token_is_refused(api: Api, header: str) -> None:
    async with client(api.url) as asking:
        answer = await asking.get("/api/v1/plugins", headers=[(b"Authorization", header.encode())])
    problem(answer, 401)


async def test_a_token_with_a_changed_secret_is_refused(api: Api) -> None:
    token = api.tokens["read"]
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    async with client(api.url, other) as asking:
        problem(await asking.get("/api/v1/plugins"), 401)


async def test_a_token_is_made_shown_once_used_and_revoked_at_once(api: Api) -> None:
    async with api.client() as admin:
        made = await admin.post("/api/v1/tokens", json={"name": "deploy", "scopes": ["push", "read"]})
        assert made.status_code == 201
        token = made.json()
        assert made.headers["location"] == f"/api/v1/tokens/{token['id']}"
        shown = (await admin.get(made.headers["location"])).json()
        assert "token" not in shown
        assert shown["scopes"] == ["read", "push"]
        assert shown["last_used_at"] is None
        async with client(api.url, token["token"]) as deploy:
            assert (await deploy.get("/api/v1/plugins")).status_code == 200
            shown = (await admin.get(made.headers["location"])).json()
            assert shown["last_used_at"] is not None
            listed = await admin.get("/api/v1/tokens")
            assert token["id"] in {one["id"] for one in listed.json()["items"]}
            assert token["token"] not in listed.text
            assert (await admin.delete(made.headers["location"])).status_code == 204
            problem(await deploy.get("/api/v1/plugins"), 401)
            assert (await admin.delete(made.headers["location"])).status_code == 204
    secret = token["token"].split("_", 2)[2]
    assert secret.encode() not in (api.settings.data_dir / SQLITE_FILE).read_bytes()


async def test_an_expired_token_is_refused(api: Api) -> None:
    token = await tokens.create_token(
        api.settings, name="short", scopes=["read"], expires_at=now() + timedelta(hours=1)
    )
    async with client(api.url, token) as asking:
        assert (await asking.get("/api/v1/plugins")).status_code == 200
        database = Database(api.settings)
        async with database.write() as session:
            past = now() - timedelta(seconds=1)
            await session.execute(update(TokenRow).where(TokenRow.name == "short").values(expires_at=past))
        await database.close()
        problem(await asking.get("/api/v1/plugins"), 401)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": ["read"]}, "/name"),
        ({"name": "", "scopes": ["read"]}, "/name"),
        ({"name": "a\nb", "scopes": ["read"]}, "/name"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": ["read", "root"]}, "/scopes/1"),
        ({"name": "x", "scopes": ["read"], "id": "mine"}, "/id"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
    ],
)
async def test_a_token_that_does_not_fit_names_the_field(api: Api, body: JsonObject, pointer: str) -> None:
    async with api.client() as admin:
        assert pointers(await admin.post("/api/v1/tokens", json=body)) == [pointer]


async def test_nobody_mints_more_than_they_have(database: Database) -> None:
    reader = Actor("reader", frozenset[Scope]({"read", "push"}))
    async with database.write() as session:
        await tokens.mint(session, reader, "mine", ["read"], None)
        with pytest.raises(Forbidden) as refused:
            await tokens.mint(session, reader, "more", ["read", "admin"], None)
    assert refused.value.scope == "admin"


async def test_the_command_line_makes_lists_and_revokes_tokens(database_settings: Settings) -> None:
    settings = database_settings
    token = await tokens.create_token(settings, name="ci", scopes=("push",))
    await tokens.create_token(settings, name="ci", scopes=("read",))
    assert re.fullmatch(r"ntf_[0-9a-f]{16}_[\w-]{43}", token)
    listed = await tokens.list_tokens(settings)
    assert {(one.name, one.scopes, one.revoked_at) for one in listed} == {
        ("ci", ("push",), None),
        ("ci", ("read",), None),
    }
    database = Database(settings)
    assert (await tokens.authenticate(database, token)) is not None
    assert await tokens.revoke_token(settings, token.split("_")[1]) == 1
    assert (await tokens.authenticate(database, token)) is None
    assert await tokens.revoke_token(settings, "ci") == 1  # the other one
    assert await tokens.revoke_token(settings, "ci") == 0
    with pytest.raises(UnknownName):
        await tokens.revoke_token(settings, "nobody")
    async with database.read() as session:
        audit = [(row.action, row.actor) for row in await session.scalars(select(AuditRow).order_by(AuditRow.id))]
    assert audit == [("create_token", "cli")] * 2 + [("revoke_token", "cli")] * 2
    await database.close()


async def test_the_first_admin_is_made_once(database_settings: Settings) -> None:
    password = await accounts.ensure_admin(database_settings)
    assert password is not None
    assert len(password) >= 16
    assert await accounts.ensure_admin(database_settings) is None
    database = Database(database_settings)
    admin = await accounts.verify(database, "admin", password)
    assert admin is not None
    assert admin.actor.may("admin")
    assert await accounts.verify(database, "admin", password + "x") is None
    assert await accounts.verify(database, "nobody", password) is None
    await accounts.add_account(database_settings, name="eve", password="correct horse battery", role="viewer")
    eve = await accounts.verify(database, "eve", "correct horse battery")
    assert eve is not None
    assert not eve.actor.may("write")
    with pytest.raises(Duplicate):
        await accounts.add_account(database_settings, name="eve", password="correct horse battery", role="viewer")
    with pytest.raises(InputError, match="12 to 1024"):
        await accounts.set_password(database_settings, name="eve", password="short")
    with pytest.raises(UnknownName):
        await accounts.set_password(database_settings, name="adam", password="correct horse battery")
    await accounts.set_password(database_settings, name="eve", password="another long password")
    assert await accounts.verify(database, "eve", "correct horse battery") is None
    assert await accounts.verify(database, "eve", "another long password") is not None
    await database.close()


async def test_the_admins_password_may_be_given(settings: Settings) -> None:
    given = settings.model_copy(update={"admin_password": SecretStr("chosen by the person")})
    assert await accounts.ensure_admin(given) is None
    database = Database(given)
    assert await accounts.verify(database, "admin", "chosen by the person") is not None
    await database.close()
    short = settings.model_copy(update={"admin_password": SecretStr("short"), "data_dir": settings.data_dir / "other"})
    with pytest.raises(InputError, match="NOTIFIER_ADMIN_PASSWORD"):
        await accounts.ensure_admin(short)


# ------------------------------------------------------------------------------------------------ problems and limits


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/messages/", 404),
        ("GET", "/redoc", 404),
        ("GET", "/api/v1/messages", 405),
        ("PUT", "/api/v1/attempts", 405),
        ("BREW", "/health/live", 405),
        ("GET", "/api/v1/attempts?limit=0", 422),
        ("GET", "/api/v1/attempts?limit=501", 422),
        ("GET", "/api/v1/attempts?limit=ten", 422),
        ("GET", "/api/v1/attempts?color=red", 422),
        ("GET", "/api/v1/attempts?cursor=zz", 422),
        ("GET", "/api/v1/attempts?cursor=99999999999999999999", 422),
        ("GET", "/api/v1/attempts?outcome=great", 422),
        ("GET", "/api/v1/attempts?message=%00", 400),
        ("GET", "/api/v1/dead_letters/a%00b", 400),
        ("GET", "/api/v1/dead_letters?q=x", 422),
        ("GET", "/api/v1/dead_letters/nobody", 404),
        ("GET", "/api/v1/runs/to-chat/yesterday", 422),
        ("GET", "/api/v1/runs/to-chat/2026-01-01T00:00:00", 422),
        ("GET", "/api/v1/runs/to-chat/2026-01-01T00:00:00Z", 404),
        ("GET", "/api/v1/plugins?kind=user", 422),
        ("GET", "/api/v1/schemas/Nothing", 404),
        ("GET", "/api/v1/tokens/nobody", 404),
        ("DELETE", "/api/v1/tokens/nobody", 404),
        ("POST", "/api/v1/tokens", 400),
    ],
)
async def test_every_error_is_a_problem(api: Api, method: str, path: str, status: int) -> None:
    async with api.client() as admin:
        answer = await admin.request(method, path)
    body = problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]
    if status == 422:
        assert body["errors"]
        assert all(error["pointer"].startswith("/") and error["detail"] for error in body["errors"])


async def test_answers_carry_the_headers_that_browsers_need(api: Api) -> None:
    async with api.client() as admin:
        for path in ("/health/live", "/api/v1/plugins", "/nowhere"):
            headers = (await admin.get(path, headers={"X-Request-Id": "mine-1"})).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert headers["x-request-id"] == "mine-1"
            assert "server" not in headers
        forged = (await admin.get("/health/live", headers={"X-Request-Id": "a b"})).headers
        assert re.fullmatch("[0-9a-f]{32}", forged["x-request-id"])


def _with_bad_routes(settings: Settings, limit_s: float = 30) -> FastAPI:
    app = create_app(settings, registry=REGISTRY, request_limit_s=limit_s)

    @app.get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError("the secret of the house")

    @app.get("/hangs")
    async def hangs() -> None:
        await asyncio.Event().wait()

    @app.post("/reads")
    async def reads(request: Request) -> Response:
        return Response(str(len(await request.body())))

    return app


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    transport = httpx.ASGITransport(_with_bad_routes(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
        answer = await asking.get("/fails", headers={"X-Request-Id": "lost-1"})
    problem(answer, 500)
    assert "house" not in answer.text
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert logged[0].__dict__["request_id"] == "lost-1"


async def test_a_request_that_takes_too_long_is_ended(settings: Settings) -> None:
    transport = httpx.ASGITransport(_with_bad_routes(settings, limit_s=0.2))

    async def forever() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
        answer = await asking.get("/hangs")
        problem(answer, 503)
        assert answer.headers["retry-after"]
        problem(await asking.post("/reads", content=forever()), 408)


async def test_more_requests_than_can_be_served_are_told_to_come_again(settings: Settings) -> None:
    app = _with_bad_routes(settings, limit_s=0.5)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as asking:
        waiting = [asyncio.create_task(asking.get("/hangs")) for _ in range(MAX_REQUESTS)]
        await asyncio.sleep(0)
        answer = await wait_until(lambda: _refused(asking))
        assert answer.headers["retry-after"]
        assert (await asking.get("/health/live")).status_code == 200
        for ended in await asyncio.gather(*waiting):
            problem(ended, 503)


async def _refused(asking: httpx.AsyncClient) -> httpx.Response | None:
    answer = await asking.get("/reads")
    return answer if answer.status_code == 503 else None


async def _chunks(count: int, size: int = 65_536) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


@pytest.mark.parametrize(
    ("path", "limit"), [("/api/v1/messages", MAX_MESSAGES_BYTES), ("/api/v1/tokens", MAX_BODY_BYTES)]
)
async def test_a_body_is_counted_while_it_is_read(api: Api, path: str, limit: int) -> None:
    headers = {"Content-Type": "application/json"}
    async with api.client() as admin:
        problem(await admin.post(path, content=b"x" * (limit + 1), headers=headers), 413)
        problem(await admin.post(path, content=_chunks(limit // 65_536 + 1), headers=headers), 413)
        problem(await admin.post(path, content=_chunks(limit // 65_536), headers=headers), 400)  # all of it blank


async def test_the_description_names_every_problem_and_needs_nothing_from_elsewhere(api: Api) -> None:
    async with api.client("read") as reader:
        description = (await reader.get("/openapi.json")).json()
    assert description["openapi"].startswith("3.1")
    assert "Problem" in description["components"]["schemas"]
    assert "HTTPValidationError" not in description["components"]["schemas"]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            if path.startswith("/health"):
                continue
            answers = operation["responses"]
            assert {"401", "403", "500", "503"} <= set(answers), path
            for status, answer in answers.items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
            if method == "post":
                assert "Idempotency-Key" in {one["name"] for one in operation["parameters"]}
    references = re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', json.dumps(description))
    assert set(references) <= set(description["components"]["schemas"])


async def test_plugins_and_schemas_are_listed(api: Api) -> None:
    async with api.client("read") as reader:
        plugins = (await reader.get("/api/v1/plugins")).json()
        assert plugins["next_cursor"] is None
        assert [(one["kind"], one["type"]) for one in plugins["items"]] == [
            ("consumer", "nowhere"),
            ("producer", "pulled"),
            ("producer", "pushed"),
        ]
        assert plugins["items"][0]["world"] == "default"
        assert plugins["items"][0]["description"] == "Delivers nothing."
        assert "partitions" in plugins["items"][0]["parameters"]["properties"]
        only = (await reader.get("/api/v1/plugins?kind=producer")).json()["items"]
        assert {one["kind"] for one in only} == {"producer"}
        schemas = (await reader.get("/api/v1/schemas")).json()["items"]
        assert {"Message", "Tick", "Delivery", "Attempt", "DeadLetter"} <= {one["name"] for one in schemas}
        message = (await reader.get("/api/v1/schemas/Message")).json()
        assert set(message["$defs"]["Message"]["required"]) == {"producer", "content"}


async def test_it_is_alive_and_ready(api: Api) -> None:
    async with client(api.url) as nobody:
        assert (await nobody.get("/health/live")).json() == {"live": True}
        ready = await nobody.get("/health/ready")
        assert ready.status_code == 200
        assert set(ready.json()["parts"]) == {"database", "broker", "relay", "history"}
        assert str(api.settings.data_dir) not in ready.text


# ------------------------------------------------------------------------------------------------------------ messages

GOOD = {"producer": "ci", "content": "hello"}
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
    Case("a byte order mark", b"\xef\xbb\xbf{}", 400),
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
    Case("an object with nothing in it", {}, 422, ("/producer",)),
    Case("no content", {"producer": "ci"}, 422, ("/content",)),
    Case("content of another type", {"producer": "ci", "content": 1}, 422, ("/content",)),
    Case("an empty id", {**GOOD, "id": ""}, 422, ("/id",)),
    Case("an id that is too long", {**GOOD, "id": "x" * 513}, 422, ("/id",)),
    Case("a NUL in the receiver", {**GOOD, "receiver": "a\0b"}, 422, ("/receiver",)),
    Case("a severity nobody knows", {**GOOD, "severity": "bad"}, 422, ("/severity",)),
    Case("labels that are no texts", {**GOOD, "labels": {"a": 1}}, 422, ("/labels",)),
    Case("a time without a zone", {**GOOD, "not_before": "2026-01-01T00:00:00"}, 422, ("/not_before",)),
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


async def test_requests_at_the_same_moment_are_all_accepted(api: Api) -> None:
    async with api.client("push") as ci:
        answers = await asyncio.gather(*(ci.post("/api/v1/messages", json=GOOD) for _ in range(60)))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["messages"][0]["id"] for answer in answers}
    assert len(ids) == 60
    there = {orjson.loads(record.value)["id"] for record in await read_all(api.settings, "messages")}
    assert ids <= there


# --------------------------------------------------------------------------------------------------------- idempotency


async def test_the_same_request_under_a_key_is_done_once(api: Api) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    async with api.client("push") as ci:
        first = await ci.post("/api/v1/messages", json=GOOD, headers=key)
        again = await ci.post("/api/v1/messages", json=GOOD, headers=key)
        assert first.status_code == again.status_code == 202
        assert first.json() == again.json()
        assert again.headers["idempotency-replayed"] == "true"
        other = await ci.post("/api/v1/messages", json={**GOOD, "content": "other"}, headers=key)
        problem(other, 422)
        problem(await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": "a b"}), 400)
        # What was refused is not kept: the mended request may use the key.
        key = {"Idempotency-Key": secrets.token_hex(8)}
        problem(await ci.post("/api/v1/messages", json={**GOOD, "producer": "no"}, headers=key), 422)
        assert (await ci.post("/api/v1/messages", json=GOOD, headers=key)).status_code == 202
    async with api.client("admin") as other_actor:
        assert (await other_actor.post("/api/v1/messages", json=[GOOD], headers=key)).status_code == 202
    ids = [orjson.loads(record.value)["id"] for record in await read_all(api.settings, "messages")]
    assert ids.count(first.json()["messages"][0]["id"]) == 1


async def test_a_token_that_is_answered_again_is_kept_sealed(api: Api) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    wanted = {"name": "once", "scopes": ["read"]}
    async with api.client() as admin:
        first = await admin.post("/api/v1/tokens", json=wanted, headers=key)
        again = await admin.post("/api/v1/tokens", json=wanted, headers=key)
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    names = [one.name for one in await tokens.list_tokens(api.settings)]
    assert names.count("once") == 1
    files = api.settings.data_dir.glob(f"{SQLITE_FILE}*")
    assert not any(first.json()["token"].split("_", 2)[2].encode() in file.read_bytes() for file in files)


async def test_a_request_at_work_under_the_key_is_waited_for_unless_its_worker_died(api: Api) -> None:
    key = secrets.token_hex(8)
    database = Database(api.settings)

    async def claim(claimed: timedelta) -> None:
        async with database.write() as session:
            await session.execute(
                update(IdempotencyRow)
                .where(IdempotencyRow.key == key)
                .values(status=None, body=None, headers={"claimed_at": rfc3339(now() - claimed)})
            )

    async with api.client("push") as ci:
        first = await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": key})
        await claim(timedelta(seconds=5))
        answer = await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": key})
        problem(answer, 409)
        assert answer.headers["retry-after"]
        await claim(timedelta(minutes=5))
        again = await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": key})
    assert again.json() == first.json()  # the same ids, so the repeat is recognisable
    await database.close()


def test_ids_of_a_key_are_the_same_each_time() -> None:
    at = now()
    body = orjson.dumps([GOOD, GOOD])
    first = read("application/json", body, Occasion(at, "me/key"))
    again = read("application/json", body, Occasion(at, "me/key"))
    other = read("application/json", body, Occasion(at, "me/other"))
    assert [one.id for one in first] == [one.id for one in again]
    assert len({one.id for one in (*first, *other)}) == 4
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one.id) for one in first
    )


# ---------------------------------------------------------------------------------------------------- runs and history


@pytest.mark.predecessor("S-30", "S-66")
async def test_a_configuration_is_run(api: Api) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    async with api.client("run") as person:
        problem(await person.post("/api/v1/configurations/nobody/run"), 404)
        problem(await person.post("/api/v1/configurations/%00/run"), 400)
        answer = await person.post("/api/v1/configurations/to-chat/run", headers=key)
        again = await person.post("/api/v1/configurations/to-chat/run", headers=key)
    assert answer.status_code == 202
    tick = answer.json()
    assert again.json() == tick
    assert tick["trigger"] == "manual"
    assert answer.headers["location"] == f"/api/v1/runs/to-chat/{tick['scheduled_at']}"
    (record,) = [one for one in await read_all(api.settings, "ticks") if orjson.loads(one.value) == tick]
    assert record.key == b"to-chat"

    run = Run(
        configuration="to-chat",
        scheduled_at=tick["scheduled_at"],
        trigger="manual",
        producers=(ProducerRun(producer="reviews", state="done", messages=3),),
    )
    await produce(api.settings, "runs", [run.encode()], key=f"to-chat/{tick['scheduled_at']}")
    async with api.client("read") as reader:
        found = await wait_until(lambda: _found(reader, answer.headers["location"]))
        assert found["state"] == "running"
        done = orjson.loads(run.encode()) | {"state": "done", "ended_at": rfc3339(now())}
        await produce(api.settings, "runs", [done], key=f"to-chat/{tick['scheduled_at']}")

        async def is_done() -> bool:
            found = await _found(reader, answer.headers["location"])
            return found is not None and found["state"] == "done"

        await wait_until(is_done)
        listed = (await reader.get("/api/v1/runs?configuration=to-chat&state=done")).json()["items"]
    assert [one["scheduled_at"] for one in listed] == [tick["scheduled_at"]]
    assert listed[0]["producers"][0]["messages"] == 3


async def _found(reader: httpx.AsyncClient, path: str) -> JsonObject | None:
    answer = await reader.get(path)
    return answer.json() if answer.status_code == 200 else None


def attempt(message: str, **changes: Any) -> Attempt:
    """An attempt at a delivery of that message."""
    at = now()
    return Attempt(
        **{
            "delivery": f"ci/{message}/to-chat/chat/alice",
            "producer": "ci",
            "message": message,
            "configuration": "to-chat",
            "consumer": "chat",
            "recipient": "alice",
            "outcome": "accepted",
            "reason": "ok",
            "started_at": at,
            "ended_at": at,
            **changes,
        }
    )


def dead_letter(id_: str, **changes: Any) -> DeadLetter:
    """A dead letter of that id."""
    return DeadLetter(
        **{"id": id_, "stage": "deliver", "reason": "exhausted", "error": "no", "topic": "t", "at": now(), **changes}
    )


async def test_the_history_is_asked_by_every_condition_newest_first(api: Api) -> None:
    mark = secrets.token_hex(4)
    first = attempt(f"{mark}-1", outcome="deferred", reason="timeout", origin=Origin(topic="m", partition=1, offset=2))
    second = attempt(f"{mark}-1", number=2)
    third = attempt(f"{mark}-2", recipient="bob", detail="a\0b", delivery=f"ci/{mark}-2")
    counters = Counters(worker="w", at=now(), counters=(Counter(configuration="c", reason="filtered", count=3),))
    values = [first.encode(), counters.encode(), b"junk", b'{"counters": 7}', second.encode(), third.encode()]
    await produce(api.settings, "attempts", values, partition=0)
    async with api.client("read") as reader:

        async def ask(**conditions: Any) -> list[tuple[str, int]]:
            answer = await reader.get("/api/v1/attempts", params=conditions)
            assert answer.status_code == 200, answer.text
            return [(one["message"], one["number"]) for one in answer.json()["items"]]

        async def all_there() -> bool:
            return len(await ask(message=f"{mark}-1")) == 2 and len(await ask(message=f"{mark}-2")) == 1

        await wait_until(all_there)
        one, two, three = (f"{mark}-1", 1), (f"{mark}-1", 2), (f"{mark}-2", 1)
        newest = [found for found in await ask(producer="ci") if found[0].startswith(mark)]
        assert newest == [three, two, one]
        assert await ask(message=one[0], outcome="deferred") == [one]
        assert await ask(message=one[0], reason="ok") == [two]
        assert await ask(delivery=first.delivery) == [two, one]
        assert await ask(message=three[0], recipient="bob", consumer="chat", configuration="to-chat") == [three]
        assert await ask(message=three[0], recipient="alice") == []
        item = (await reader.get("/api/v1/attempts", params={"message": one[0], "outcome": "deferred"})).json()[
            "items"
        ][0]
        assert item["origin"] == {"topic": "m", "partition": 1, "offset": 2}
        assert item["started_at"] == rfc3339(first.started_at)

        page = (await reader.get("/api/v1/attempts", params={"message": one[0], "limit": 1})).json()
        rest = (await reader.get("/api/v1/attempts", params={"message": one[0], "cursor": page["next_cursor"]})).json()
        assert [found["number"] for found in page["items"] + rest["items"]] == [2, 1]
        assert rest["next_cursor"] is None


async def test_dead_letters_are_listed_and_kept_whole(api: Api) -> None:
    mark = secrets.token_hex(4)
    delivery = f"ci/{mark}%2F1/to-chat/chat/alice"
    letters = [
        dead_letter(delivery, delivery=delivery, value='{"a": 1}', attempts=8, partition=3, offset=4, key="k"),
        dead_letter(f"messages/0/{mark}", stage="route", reason="invalid", value="x" * 20_000),
        dead_letter(f"nul/{mark}", stage="route", reason="invalid", value="a\0b"),
    ]
    await produce(api.settings, "dead_letters", [letter.encode() for letter in letters], partition=0)
    async with api.client("read") as reader:

        async def ask(**conditions: Any) -> list[JsonObject]:
            return list((await reader.get("/api/v1/dead_letters", params=conditions)).json()["items"])

        (found,) = await wait_until(lambda: ask(message=f"{mark}/1"))
        assert found["id"] == found["delivery"] == delivery
        assert (found["partition"], found["offset"], found["attempts"], found["value"]) == (3, 4, 8, '{"a": 1}')
        assert await ask(delivery=delivery, consumer="chat", recipient="alice", configuration="to-chat") == [found]
        (large,) = await wait_until(lambda: ask(id=f"messages/0/{mark}"))
        assert (large["value"], large["value_omitted"]) == (None, True)
        whole = (await reader.get(f"/api/v1/dead_letters/messages/0/{mark}")).json()
        assert (whole["value"], whole["value_omitted"]) == ("x" * 20_000, False)
        (nul,) = await wait_until(lambda: ask(id=f"nul/{mark}", stage="route", reason="invalid"))
        assert (nul["value"], nul["value_base64"]) == (None, "YQBi")


@asynccontextmanager
async def following(settings: Settings, database: Database) -> AsyncIterator[History]:
    """A history that follows."""
    history = History(settings, database)
    await history.start()
    try:
        yield history
    finally:
        await history.stop()


async def _count(database: Database, table: Any = AttemptRow) -> int:
    async with database.read() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


async def test_the_history_holds_each_record_once_across_stops_and_shares(
    database_settings: Settings, database: Database
) -> None:
    settings = database_settings
    values = [attempt(f"m{number}").encode() for number in range(400)]
    await produce(settings, "attempts", values[:100])
    async with following(settings, database):
        await wait_until(lambda: _count(database))
    await produce(settings, "attempts", values[100:200])
    async with following(settings, database), following(settings, database):
        await produce(settings, "attempts", values[200:])
        await produce(settings, "dead_letters", [dead_letter("d").encode()])
        await wait_until(lambda: _all(database, 400), otherwise="not all attempts are there")
    async with following(settings, database) as history:
        await wait_until(lambda: history.lag == 0)
        await wait_until(lambda: _count(database, DeadLetterRow))
        assert await _count(database) == 400
    async with database.read() as session:
        items, _ = await records.attempts(session, {"producer": "ci"}, 500, None)
        assert {item["message"] for item in items} == {f"m{number}" for number in range(400)}
        # A process that was thought dead goes back in time: what it reads again is stored once all the same.
        await session.execute(update(HistoryOffsetRow).values(offset=0))
        await session.commit()
    async with following(settings, database):
        await wait_until(lambda: _all_read(database, 400))
        assert await _count(database) == 400


async def _all(database: Database, count: int) -> bool:
    return await _count(database) == count


async def _all_read(database: Database, count: int) -> bool:
    async with database.read() as session:
        query = select(func.sum(HistoryOffsetRow.offset)).where(HistoryOffsetRow.topic.endswith("attempts"))
        return (await session.scalar(query) or 0) >= count


async def test_a_topic_that_begins_anew_is_read_from_its_start(settings: Settings) -> None:
    await upgrade(settings)
    database = Database(settings)
    await produce(settings, "attempts", [attempt(f"old{number}").encode() for number in range(20)], partition=0)
    async with following(settings, database):
        await wait_until(lambda: _all(database, 20))
    await delete_topics(settings)
    await produce(settings, "attempts", [attempt("new").encode()], partition=0)
    async with following(settings, database):
        await wait_until(lambda: _all(database, 21))
    await database.close()


async def test_a_record_that_is_newer_than_this_program_ends_the_history(settings: Settings) -> None:
    await upgrade(settings)
    database = Database(settings)
    await produce(settings, "attempts", [orjson.loads(attempt("m").encode()) | {"v": 2}])
    async with following(settings, database) as history:
        await wait_until(lambda: history.failed)
    assert await _count(database) == 0
    await database.close()


async def test_what_is_old_is_forgotten(database: Database) -> None:
    old, new = now() - timedelta(days=8), now()
    async with database.write() as session:
        for at in (old, new):
            for number in range(3):
                row = {"generation": 0, "partition": 0, "offset": int(at.timestamp()) + number, "number": 1}
                texts = {"delivery": "d", "producer": "p", "message": "m", "outcome": "accepted", "reason": "ok"}
                session.add(AttemptRow(**row, **texts, started_at=at, ended_at=at))
            session.add(IdempotencyRow(actor="a", key=str(at), request_hash="h", at=at))
    assert await prune(database) == 4
    assert await _count(database) == 3
    assert await prune(database) == 0


# ----------------------------------------------------------------------------------------------------- faults on purpose


@contextmanager
def own_broker(folder: Path) -> Iterator[tuple[EmbeddedBroker, Settings]]:
    """A broker of this test alone, to be maltreated."""
    port = free_port()  # kept, so that clients find the broker again after a restart
    settings = load_settings(env_file=None, data_dir=folder, kafka_port=port, secret_key=generate_key())
    broker = EmbeddedBroker(settings)
    address = broker.start(die_with_parent=True)
    try:
        yield broker, settings.model_copy(update={"kafka": address})
    finally:
        broker.stop()


def java_of(settings: Settings) -> psutil.Process:
    """The broker's process."""
    state = json.loads((settings.data_dir / "kafka" / "broker.json").read_text())
    return psutil.Process(state["pid"])


@pytest.mark.slow
async def test_a_broker_that_is_away_or_hangs_gets_503_and_nothing_half_written(tmp_path: Path) -> None:
    with own_broker(tmp_path) as (broker, settings):
        await define(settings)
        token = await tokens.create_token(settings, name="t", scopes=["admin"])
        accepted: set[str] = set()
        refused: set[str] = set()
        unknown: set[str] = set()
        count = 0

        async def push(asking: httpx.AsyncClient) -> httpx.Response:
            nonlocal count
            count += 1
            receivers = [f"user{number}" for number in range(30)]  # over all partitions
            body = [{**GOOD, "id": f"{count}-{name}", "receiver": name} for name in receivers]
            number = str(count)
            answer = await asking.post("/api/v1/messages", json=body)
            if answer.status_code == 202:
                accepted.add(number)
            else:
                (unknown if problem(answer, 503)["detail"] == UNKNOWN else refused).add(number)
            return answer

        async def accepts() -> bool:
            return (await push(asking)).status_code == 202

        async with running(settings) as url, client(url, token) as asking:
            await wait_until(accepts)

            java = java_of(settings)
            java.suspend()
            try:
                hanging = await asyncio.gather(*(push(asking) for _ in range(5)))
            finally:
                java.resume()
            for answer in hanging:
                assert problem(answer, 503)["detail"]
                assert answer.headers["retry-after"]
            await wait_until(accepts)

            java_of(settings).kill()
            java.wait(20)
            await push(asking)
            key = {"Idempotency-Key": "once"}
            problem(await asking.post("/api/v1/messages", json=[GOOD, GOOD], headers=key), 503)
            problem(await asking.post("/api/v1/configurations/to-chat/run"), 503)
            # What needs no broker goes on.
            assert (await asking.get("/api/v1/attempts")).status_code == 200
            assert (await asking.get("/health/live")).status_code == 200
            ready = await wait_until(lambda: _not_ready(asking))
            assert ready["broker"]["ready"] is False
            assert ready["database"]["ready"] is True

            await asyncio.to_thread(broker.start, die_with_parent=True)
            await wait_until(accepts)
            await wait_until(lambda: _ready(asking))
            repeated = await asking.post("/api/v1/messages", json=[GOOD, GOOD], headers=key)
            assert repeated.status_code == 202

        ids = [orjson.loads(record.value)["id"] for record in await read_all(settings, "messages")]
        numbers = [id_.split("-")[0] for id_ in ids if "-user" in id_]
        for number in accepted:
            assert numbers.count(number) == 30
        assert len(refused) >= 2
        for number in refused:
            assert numbers.count(number) == 0
        for number in unknown:  # the gap that `control_api.intake.intake` names: whole or not at all
            assert numbers.count(number) in (0, 30)
        for one in repeated.json()["messages"]:
            assert ids.count(one["id"]) == 1


async def _not_ready(asking: httpx.AsyncClient) -> JsonObject | None:
    answer = await asking.get("/health/ready")
    parts: JsonObject = answer.json()["parts"]
    return parts if answer.status_code == 503 and not parts["broker"]["ready"] else None


async def test_without_a_broker_the_api_lives_and_says_so(tmp_path: Path) -> None:
    settings = load_settings(env_file=None, kafka="127.0.0.1:1", data_dir=tmp_path, secret_key=generate_key())
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["admin"])
    async with running(settings) as url, client(url, token) as asking:
        assert (await asking.get("/health/live")).status_code == 200
        parts = (await asking.get("/health/ready")).json()["parts"]
        assert [name for name in parts if parts[name]["ready"]][:1] == ["database"]
        assert not parts["broker"]["ready"]
        key = {"Idempotency-Key": "k"}
        problem(await asking.post("/api/v1/messages", json=GOOD, headers=key), 503)
        problem(await asking.post("/api/v1/messages", json={**GOOD, "content": "y"}, headers=key), 422)
        problem(await asking.post("/api/v1/messages", json={**GOOD, "producer": "no"}), 422)
        assert (await asking.get("/api/v1/tokens")).status_code == 200
        started = await asking.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"]})
        assert started.status_code == 201


async def test_a_database_that_drops_its_connections_is_found_again(settings: Settings, postgresql_url: str) -> None:
    settings = settings.model_copy(update={"database_url": postgresql_url})
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["admin"])
    database = Database(settings)
    async with running(settings) as url, client(url, token) as asking:
        await wait_until(lambda: _ready(asking))
        await produce(settings, "attempts", [attempt("before").encode()])
        await wait_until(lambda: _all(database, 1))
        async with database.write() as session:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            mine = " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            await session.execute(text(others + mine))
        answer = await asking.post("/api/v1/messages", json=GOOD)
        assert answer.status_code in (202, 503)
        await produce(settings, "attempts", [attempt("after").encode()])
        await wait_until(lambda: _all(database, 2))
        assert (await asking.post("/api/v1/messages", json=GOOD)).status_code == 202
        await wait_until(lambda: _ready(asking))
    await database.close()


# ------------------------------------------------------------------------------------------------------------ process

PROGRAM = """
import sys
from control_api import app
from control_api.serve import run_api_process
from notifier.errors import NotifierError
from notifier.settings import load_settings
import tests.control_api.rest.test_messages as mine
app.load_registry = lambda: mine.REGISTRY
try:
    sys.exit(run_api_process(load_settings(env_file=None)))
except NotifierError as error:
    print(f"notifier: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def process(settings: Settings, **variables: str) -> subprocess.Popen[str]:
    """The API as a process of its own, on a free port unless told otherwise."""
    assert settings.secret_key is not None
    assert settings.kafka is not None
    environment = {
        **os.environ,
        "NOTIFIER_KAFKA": settings.kafka,
        "NOTIFIER_TOPIC_PREFIX": settings.topic_prefix,
        "NOTIFIER_DATA_DIR": str(settings.data_dir),
        "NOTIFIER_SECRET_KEY": settings.secret_key.get_secret_value(),
        "NOTIFIER_HTTP_PORT": "0",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def url_of(api_process: subprocess.Popen[str]) -> str:
    """The address that it logs; fails when it ends instead."""
    assert api_process.stderr is not None
    for line in api_process.stderr:
        entry = json.loads(line)
        if "port" in entry:
            assert entry["role"] == "api"
            threading.Thread(target=api_process.stderr.read, daemon=True).start()  # a full pipe would stop it
            return f"http://127.0.0.1:{entry['port']}"
    raise AssertionError("the process ended without listening")


def ended(api_process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its status and what it said."""
    _, said = api_process.communicate(timeout=60)
    return api_process.returncode, said


async def test_the_process_drains_and_ends_with_status_0_on_sigterm(settings: Settings) -> None:
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["push"])
    running_process = process(settings)
    try:
        async with client(await asyncio.to_thread(url_of, running_process), token) as asking:
            await wait_until(lambda: _ready(asking))
            inside = asyncio.Event()

            async def slowly() -> AsyncIterator[bytes]:
                yield b'{"producer":"ci",'
                inside.set()
                await asyncio.sleep(1)
                yield b'"content":"x","id":"last"}'

            sending = asyncio.create_task(
                asking.post("/api/v1/messages", content=slowly(), headers={"Content-Type": "application/json"})
            )
            await inside.wait()
            running_process.send_signal(signal.SIGTERM)
            assert (await sending).status_code == 202
        assert await asyncio.to_thread(running_process.wait, 60) == 0
    finally:
        running_process.kill()
        running_process.wait()
        assert running_process.stderr is not None
        running_process.stderr.close()
    assert [orjson.loads(record.value)["id"] for record in await read_all(settings, "messages")] == ["last"]


async def test_it_refuses_to_listen_to_others_while_nobody_can_sign_in(settings: Settings) -> None:
    status, said = await asyncio.to_thread(ended, process(settings, NOTIFIER_HTTP_HOST="0.0.0.0"))
    assert status == 2
    assert "notifier token create" in said
    await tokens.create_token(settings, name="t", scopes=["read"])
    allowed = process(settings, NOTIFIER_HTTP_HOST="0.0.0.0")
    try:
        await asyncio.to_thread(url_of, allowed)
    finally:
        allowed.terminate()
        assert allowed.wait(60) == 0
        assert allowed.stderr is not None
        allowed.stderr.close()


async def test_a_port_that_is_taken_is_one_line(settings: Settings) -> None:
    listener = listen("127.0.0.1", 0)
    try:
        port = str(listener.getsockname()[1])
        status, said = await asyncio.to_thread(ended, process(settings, NOTIFIER_HTTP_PORT=port))
    finally:
        listener.close()
    assert status == 2
    assert f"127.0.0.1:{port} cannot be listened on" in said
    assert "Traceback" not in said


async def test_without_a_database_it_does_not_start_and_keeps_the_password_to_itself(settings: Settings) -> None:
    url = "postgresql+asyncpg://me:canary@127.0.0.1:1/notifier"
    status, said = await asyncio.to_thread(ended, process(settings, NOTIFIER_DATABASE_URL=url))
    assert status == 3
    assert "127.0.0.1:1 does not answer" in said
    assert "canary" not in said
    assert "Traceback" not in said


async def test_a_killed_api_leaves_every_request_whole_or_not_at_all(settings: Settings) -> None:
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["push"])
    acknowledged: set[str] = set()
    first = process(settings)
    url = await asyncio.to_thread(url_of, first)
    port = url.rsplit(":", 1)[1]

    async def push(asking: httpx.AsyncClient, name: str) -> None:
        body = [{**GOOD, "id": f"{name}/{number}", "receiver": f"user{number}"} for number in range(20)]
        try:
            if (await asking.post("/api/v1/messages", json=body)).status_code == 202:
                acknowledged.add(name)
        except httpx.TransportError:
            pass  # killed in the middle of it

    async with client(url, token) as asking:
        await wait_until(lambda: _ready(asking))

        async def load(worker: int) -> None:
            for turn in range(10_000):
                await push(asking, f"{worker}-{turn}")
                if first.poll() is not None:
                    return

        workers = [asyncio.create_task(load(worker)) for worker in range(4)]
        await wait_until(lambda: len(acknowledged) > 20)
        first.kill()
        await asyncio.to_thread(first.wait)
        await asyncio.gather(*workers)
    assert first.stderr is not None
    first.stderr.close()

    # Its successor at the same address aborts what it left open, so that readers are not held up.
    second = process(settings, NOTIFIER_HTTP_PORT=port)
    try:
        async with client(await asyncio.to_thread(url_of, second), token) as asking:
            await wait_until(lambda: _ready(asking))
            await push(asking, "after")
        assert "after" in acknowledged
        found: dict[str, int] = {}
        for record in await wait_for_records(settings, "messages", 20 * len(acknowledged)):
            name = orjson.loads(record.value)["id"].split("/")[0]
            found[name] = found.get(name, 0) + 1
    finally:
        second.terminate()
        assert second.wait(60) == 0
        assert second.stderr is not None
        second.stderr.close()
    assert {found[name] for name in acknowledged} == {20}
    assert set(found.values()) == {20}


# --------------------------------------------------------------------------------------------------------------- logs


@contextmanager
def logging_to(settings: Settings) -> Iterator[io.StringIO]:
    """What is logged, as text."""
    stream = io.StringIO()
    root = logging.getLogger()
    level = root.level
    log.configure(settings, "api", stream)
    try:
        yield stream
    finally:
        for output in root.handlers[:]:
            if getattr(output, "_notifier", False):
                root.removeHandler(output)
        root.setLevel(level)
        logging.captureWarnings(False)


FORGED = 'line\r\n{"level": "CRITICAL"}\x1b[2J\u2028end'
SECRETS: Mapping[str, object] = {
    "password": "canary-1",
    "bot_token": "canary-2",
    "api_key": "canary-3",
    "headers": {"Authorization": "Bearer canary-4", "X": ["canary-ok"]},
    "value": SecretStr("canary-5"),
}


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_value_cannot_forge_a_line_and_secrets_stay_out(form: str) -> None:
    settings = load_settings(env_file=None, log_format=form)
    with logging_to(settings) as stream:
        logger = logging.getLogger("test")
        logger.info("%s", FORGED, extra={"action": "push", "user": FORGED, **SECRETS})
        logger.error("Authorization: Bearer canary-6 and ntf_0123456789abcdef_canary-7 at https://me:canary-8@host/")
        try:
            raise ValueError("lone \ud800 surrogate\nof ntf_0123456789abcdef_canary-9")
        except ValueError:
            logger.exception("It failed.", extra={"number": 2**80, "odd": {1: {"\ud800"}}})
        logging.getLogger("aiokafka.conn").info("chatter")
    logged = stream.getvalue()
    assert "canary-ok" in logged
    assert not re.search(r"canary-\d", logged)
    assert "chatter" not in logged
    assert "\x1b" not in logged
    lines = logged.splitlines()
    if form == "json":
        entries = [json.loads(line) for line in lines]
        assert [entry["level"] for entry in entries] == ["INFO", "ERROR", "ERROR"]
        assert entries[0]["message"] == FORGED
        assert entries[0]["action"] == "push"
        assert {entry["role"] for entry in entries} == {"api"}
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"]) for entry in entries)
    else:
        assert [line for line in lines if not line.startswith("    ")] == [lines[0], lines[1], lines[2]]


def test_logging_is_set_up_once_however_often() -> None:
    settings = load_settings(env_file=None, log_format="json")
    with logging_to(settings) as first:
        with logging_to(settings) as second:
            logging.getLogger("test").warning("once")
            for _ in range(5):
                logging.getLogger("aiokafka").error("Unable to connect to %s", "a broker")
        assert first.getvalue() == ""
        assert len(second.getvalue().splitlines()) == 2
