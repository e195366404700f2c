"""The console: signing in, what a session may do and how it ends, the pages and their assets - over HTTP and in a browser."""

import asyncio
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from fastapi import Request
from graphql import get_introspection_query
from playwright.async_api import Page, async_playwright
from sqlalchemy import delete, func, select, update

from control_api.access import accounts, tokens
from control_api.access.actor import COMMAND_LINE, ROLES, Role
from control_api.access.sessions import ABSOLUTE, COOKIE, IDLE, close_session, find_account, open_session
from control_api.access.sign_in_limit import TRIES, WINDOW_S, Tries, address_key
from control_api.app import create_app, listen, serve
from control_api.console.assets import FOLDER, MEDIA_TYPES, address, served
from control_api.console.sign_in import local
from control_api.http.accept import is_browser
from control_api.http.auth import check_guarded
from control_api.models import AccountRow, AuditRow, SessionRow
from control_api.retention import prune
from notifier.database import SQLITE_FILE, Database
from notifier.record import now
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from tests.control_api.test_control_api import SCOPE_OF, problem
from tests.rigs.kafka_tools import wait_until
from tests.rigs.repository import ROOT

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse battery"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


@dataclass
class Console:
    """An API without a broker, on a real server."""

    url: str
    database: Database
    tokens: dict[str, str]
    _numbers: "itertools.count[int]"

    async def account(self, role: Role = "viewer") -> str:
        """The name of a new account, so that no test uses up another's tries."""
        name = f"person-{next(self._numbers)}"
        async with self.database.write() as session:
            await accounts.add(session, COMMAND_LINE, name, PASSWORD, role)
        return name

    async def session(self, role: Role = "viewer") -> str:
        """What the cookie of a new account's session holds."""
        account = await accounts.verify(self.database, await self.account(role), PASSWORD)
        assert account is not None
        ticket = await open_session(self.database, account)
        assert ticket is not None
        return ticket

    def client(self, ticket: str | None = None, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        """A client at an address of its own, so that it has tries of its own."""
        number = next(self._numbers)
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.{1 + number // 250}.{1 + number % 250}")
        cookies = {} if ticket is None else {COOKIE: ticket}
        own = {"Origin": self.url, **(headers or {})}
        return httpx.AsyncClient(base_url=self.url, transport=transport, cookies=cookies, headers=own, timeout=40)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Console]:
    """The API on a free port, in this event loop."""
    listener = listen("127.0.0.1", 0)
    app = create_app(settings)
    server = serve(app, listener)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: server.started or task.done())
        made = {scope: await tokens.create_token(settings, name=scope, scopes=[scope]) for scope in ("read", "admin")}
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Console(url, app.state.parts.database, made, itertools.count(1))
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(upgraded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    """One for all tests of this file."""
    folder = tmp_path_factory.mktemp("console")
    shutil.copy(upgraded_file, folder / SQLITE_FILE)
    settings = load_settings(
        env_file=None, data_dir=folder, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )
    async with serving(settings) as console:
        yield console


@pytest_asyncio.fixture(loop_scope="module")
async def store(store_settings: Settings) -> AsyncIterator[Database]:
    """Each kind of database, in the event loop of this file."""
    database = Database(store_settings)
    yield database
    await database.close()


# ------------------------------------------------------------------------------------------------------------ sessions


async def _account(database: Database, name: str = "ada") -> accounts.Account:
    async with database.write() as session:
        return await accounts.add(session, COMMAND_LINE, name, PASSWORD, "editor")


async def test_a_session_lasts_until_it_is_closed_and_is_kept_as_a_hash(store: Database) -> None:
    account = await _account(store)
    ticket = await open_session(store, account)
    other = await open_session(store, account)
    assert ticket is not None
    assert other is not None
    assert len(ticket) == 43  # 256 bits
    found = await find_account(store, ticket)
    assert found == account
    assert found.actor.signed_in
    assert await find_account(store, ticket[:-1]) is None
    assert await find_account(store, "") is None
    async with store.read() as session:
        hashes = list(await session.scalars(select(SessionRow.hash)))
    assert hashlib.sha256(ticket.encode()).hexdigest() in hashes
    await close_session(store, ticket)
    await close_session(store, ticket)
    assert await find_account(store, ticket) is None
    assert await find_account(store, other) == account
    async with store.read() as session:
        rows = await session.scalars(select(AuditRow).where(AuditRow.action.like("sign%")).order_by(AuditRow.id))
        audit = [(row.action, row.actor, row.kind, row.name) for row in rows]
    mine = "account ada", "account", "ada"
    assert audit == [("sign_in", *mine), ("sign_in", *mine), ("sign_out", *mine)]


@pytest.mark.parametrize(
    ("created", "seen", "alive"),
    [
        (timedelta(0), timedelta(0), True),
        (IDLE, IDLE - timedelta(minutes=1), True),
        (IDLE, IDLE, False),
        (ABSOLUTE - timedelta(minutes=1), timedelta(0), True),
        (ABSOLUTE, timedelta(0), False),
    ],
)
async def test_a_session_ends_when_idle_and_after_a_week(
    store: Database, created: timedelta, seen: timedelta, alive: bool
) -> None:
    ticket = await open_session(store, await _account(store))
    assert ticket is not None
    at = now()
    async with store.write() as session:
        await session.execute(update(SessionRow).values(created_at=at - created, seen_at=at - seen))
    assert (await find_account(store, ticket) is not None) is alive
    async with store.read() as session:
        seen_at = await session.scalar(select(SessionRow.seen_at))
    assert seen_at is not None
    assert (seen_at >= at - timedelta(minutes=10)) is (alive or seen < timedelta(minutes=10))  # use prolongs it


async def test_a_changed_password_ends_every_session_of_the_account(store: Database) -> None:
    ada, eve = await _account(store), await _account(store, "eve")
    mine, others = await open_session(store, ada), await open_session(store, eve)
    assert mine is not None
    assert others is not None
    async with store.write() as session:
        await accounts.change_password(session, COMMAND_LINE, "ada", "another long password")
    assert await find_account(store, mine) is None
    assert await find_account(store, others) == eve
    # Somebody whose old password was right a moment before the change is not let in after it.
    assert await open_session(store, ada) is None


async def test_the_account_is_the_one_of_this_moment(store: Database) -> None:
    ticket = await open_session(store, await _account(store))
    assert ticket is not None
    async with store.write() as session:
        await session.execute(update(AccountRow).values(role="viewer"))
    account = await find_account(store, ticket)
    assert account is not None
    assert account.actor.scopes == ROLES["viewer"]
    async with store.write() as session:
        await session.execute(delete(AccountRow))
    assert await find_account(store, ticket) is None


async def test_old_sessions_are_forgotten(store: Database) -> None:
    account = await _account(store)
    await open_session(store, account)
    async with store.write() as session:
        await session.execute(update(SessionRow).values(created_at=now() - ABSOLUTE - timedelta(minutes=1)))
    await open_session(store, account)
    assert await prune(store) == 1
    async with store.read() as session:
        assert await session.scalar(select(func.count()).select_from(SessionRow)) == 1


async def test_tries_are_counted_by_key_and_come_back() -> None:
    time = 1000.0
    tries = Tries(lambda: time)
    for _ in range(TRIES):
        assert tries.take("a", "b") == 0
        time += 1
    assert tries.take("a") == tries.take("b", "c") == WINDOW_S - TRIES
    for _ in range(TRIES):  # what was refused counted nothing
        assert tries.take("c") == 0
    time = 1000.0 + WINDOW_S
    assert tries.take("a") == 0
    assert tries.take("a") == 1
    assert tries.take("c") > 0


async def test_strangers_do_not_fill_the_memory() -> None:
    time = 1000.0
    tries = Tries(lambda: time)
    for number in range(30_000):
        time += 0.1
        tries.take(f"{number}")
    assert len(tries._recent) <= 10_001


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        (None, "testclient", True),
    ],
)
async def test_an_address_is_a_callers(one: str | None, other: str | None, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


# ---------------------------------------------------------------------------------------------------- signing in and out


def cookie_of(answer: httpx.Response) -> SimpleCookie:
    """The cookie that an answer sets."""
    return SimpleCookie(answer.headers["set-cookie"])


async def test_the_form_signs_in_and_the_button_out(console: Console) -> None:
    name = await console.account("editor")
    async with console.client() as browser:
        page = await browser.get("/console/login", headers=BROWSER)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-store"
        answer = await browser.post("/console/login", data={"name": name, "password": PASSWORD, "next": "/docs?a=b"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/docs?a=b")
        cookie = cookie_of(answer)[COOKIE]
        assert cookie["httponly"]
        assert cookie["samesite"] == "strict"
        assert cookie["path"] == "/"
        assert not cookie["domain"]
        assert not cookie["secure"]  # on loopback, by http
        assert not cookie.value.startswith("ntf")
        home = await browser.get("/console")
        assert name in home.text
        assert "editor" in home.text
        assert (await browser.get("/api/v1/users")).json()["items"] == []
        query = {"query": "{ users { items { username } } }"}
        assert (await browser.post("/graphql", json=query)).json() == {"data": {"users": {"items": []}}}
        again = await browser.get("/console/login", params={"next": "/docs"})
        assert again.headers["location"] == "/docs"

        out = await browser.post("/console/logout")
        assert (out.status_code, out.headers["location"]) == (303, "/console/login")
        assert cookie_of(out)[COOKIE].value == ""
        assert COOKIE not in browser.cookies
        problem(await browser.get("/api/v1/users"), 401)
    async with console.client(cookie.value) as copied:
        problem(await copied.get("/api/v1/users"), 401)


async def test_behind_https_the_cookie_is_for_https_only(console: Console) -> None:
    name = await console.account()
    # As a proxy that ends TLS hands it on: to us by http, for the name that the browser knows.
    headers = {"Origin": "https://notifier.example", "Host": "notifier.example"}
    async with console.client(headers=headers) as browser:
        answer = await browser.post("/console/login", data={"name": name, "password": PASSWORD})
        assert cookie_of(answer)[COOKIE]["secure"]
        assert cookie_of(await browser.post("/console/logout"))[COOKIE]["secure"]


async def test_signing_in_again_ends_the_session_before(console: Console) -> None:
    before = await console.session()
    name = await console.account()
    async with console.client(before) as browser:
        answer = await browser.post("/console/login", json={"name": name, "password": PASSWORD})
        assert answer.json() == {"name": name, "role": "viewer"}
        assert cookie_of(answer)[COOKIE].value != before
    assert await find_account(console.database, before) is None


async def test_an_unknown_name_is_answered_like_a_wrong_password(console: Console) -> None:
    name = await console.account()
    answers = []
    async with console.client() as asking:
        for body in (
            {"name": name, "password": "wrong"},
            {"name": "nobody", "password": PASSWORD},
            {"name": "\0", "password": PASSWORD},
            {"name": "", "password": ""},
        ):
            answer = await asking.post("/console/login", json=body)
            assert "set-cookie" not in answer.headers
            answers.append(problem(answer, 401))
    assert all(body == answers[0] for body in answers)


async def test_a_refused_form_is_shown_again_without_the_password(console: Console) -> None:
    form = {"name": '"><script>alert(1)</script>', "password": "canary-password", "next": "/docs"}
    async with console.client() as browser:
        answer = await browser.post("/console/login", data=form)
    assert answer.status_code == 401
    assert "wrong" in answer.text
    assert 'value="/docs"' in answer.text
    assert "canary-password" not in answer.text
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"name": "a"}', "application/json", 422),
        (b'{"name": "a", "password": "b", "role": "admin"}', "application/json", 422),
        (b"name=a", "application/x-www-form-urlencoded", 422),
        (b"name=\xff&password=b", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=b"] * 50), "application/x-www-form-urlencoded", 400),
        (b"name=a&password=b", "text/plain", 415),
    ],
)
async def test_what_is_no_sign_in_is_a_problem(console: Console, content: bytes, media_type: str, status: int) -> None:
    async with console.client() as asking:
        problem(await asking.post("/console/login", content=content, headers={"Content-Type": media_type}), status)


async def test_an_account_has_five_tries_a_minute_from_wherever(console: Console) -> None:
    name = await console.account()
    for _ in range(TRIES):
        async with console.client() as stranger:
            problem(await stranger.post("/console/login", json={"name": name, "password": "guess"}), 401)
    async with console.client() as owner:
        answer = await owner.post("/console/login", json={"name": name.upper(), "password": PASSWORD})
        problem(answer, 429)
        assert 0 < int(answer.headers["retry-after"]) <= WINDOW_S
        page = await owner.post("/console/login", data={"name": name, "password": PASSWORD})
        assert page.status_code == 429
        assert int(page.headers["retry-after"]) > 0
        assert "try again" in page.text
        other = await owner.post("/console/login", json={"name": await console.account(), "password": PASSWORD})
        assert other.status_code == 200


async def test_an_address_has_five_tries_a_minute_for_whomever(console: Console) -> None:
    name = await console.account()
    async with console.client() as stranger:
        for number in range(TRIES):
            problem(await stranger.post("/console/login", json={"name": f"n{number}", "password": "guess"}), 401)
        problem(await stranger.post("/console/login", json={"name": name, "password": PASSWORD}), 429)
    async with console.client() as owner:
        assert (await owner.post("/console/login", json={"name": name, "password": PASSWORD})).status_code == 200


# -------------------------------------------------------------------------------------------------- where one is sent to


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/docs", True),
        ("/graphql?query=%7B%20users%20%7D&a=//b", True),
        ("/docs#/tokens", True),
        ("", False),
        ("docs", False),
        ("//evil.example", False),
        ("///evil.example", False),
        ("/\\evil.example", False),
        ("\\\\evil.example", False),
        ("/\t/evil.example", False),
        ("\t//evil.example", False),
        ("/\r\nSet-Cookie: a=b", False),
        ("https://evil.example/", False),
        ("https:evil.example", False),
        ("javascript:alert(1)", False),
        ("//[", False),
        ("/é", False),
        ("/console/login?next=/console/login", False),
    ],
)
async def test_signing_in_leads_nowhere_else(console: Console, path: str, allowed: bool) -> None:
    assert local(path) == (path if allowed else "/console")
    async with console.client(await console.session()) as browser:
        there = await browser.get("/console/login", params={"next": path})
    assert (there.status_code, there.headers["location"]) == (303, path if allowed else "/console")


async def test_the_form_leads_nowhere_else(console: Console) -> None:
    form = {"name": await console.account(), "password": PASSWORD, "next": "//evil.example"}
    async with console.client() as browser:
        assert 'value="/console"' in (await browser.get("/console/login?next=//evil.example")).text
        assert (await browser.post("/console/login", data=form)).headers["location"] == "/console"


@pytest.mark.parametrize("path", ["/graphql", "/graphql?query=%7Bx%7D", "/docs", "/console"])
async def test_a_browser_is_sent_to_sign_in_and_a_program_is_not(console: Console, path: str) -> None:
    async with console.client() as asking:
        sent = await asking.get(path, headers=BROWSER)
        assert (sent.status_code, sent.headers["location"]) == (303, f"/console/login?{urlencode({'next': path})}")
        for accept in ("*/*", "application/json", "application/graphql-response+json"):
            answer = await asking.get(path, headers={"Accept": accept})
            problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        problem(await asking.get("/api/v1/users", headers=BROWSER), 401)  # this is no page
        problem(await asking.post("/graphql", headers=BROWSER, json={"query": "{ __typename }"}), 401)
    async with console.client("A" * 43) as asking:
        assert (await asking.get(path, headers=BROWSER)).status_code == 303


async def test_a_link_from_elsewhere_gets_its_cookie_by_one_more_step(console: Console) -> None:
    async with console.client(headers={**BROWSER, "Sec-Fetch-Site": "cross-site"}) as browser:
        answer = await browser.get("/console/login", params={"next": "/docs?a=1&b=2"})
    assert answer.status_code == 200
    assert 'content="0; url=/console/login?next=/docs%3Fa%3D1%26b%3D2"' in answer.text


async def test_graphiql_is_for_browsers_and_answers_are_for_programs(console: Console) -> None:
    async with console.client(await console.session()) as browser:
        for path in ("/graphql", "/graphql?query={__typename}"):
            assert "graphiql.min.js" in (await browser.get(path, headers=BROWSER)).text
        answer = await browser.get("/graphql?query={__typename}")
        assert answer.json() == {"data": {"__typename": "Query"}}
    async with console.client(headers={"Authorization": f"Bearer {console.tokens['read']}"}) as program:
        assert (await program.get("/graphql?query={__typename}")).json() == {"data": {"__typename": "Query"}}
        assert "swagger" in (await program.get("/docs")).text
        assert (await program.get("/console", headers=BROWSER)).status_code == 303  # it is no person


@pytest.mark.parametrize(
    ("accept", "browser"),
    [
        (BROWSER["Accept"], True),
        ("text/html", True),
        ("text/*", True),
        ("*/*", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0", False),
        ("", False),
    ],
)
async def test_browsers_name_html_first(accept: str, browser: bool) -> None:
    request = Request({"type": "http", "headers": [(b"accept", accept.encode())]})
    assert is_browser(request) is browser


# --------------------------------------------------------------------------------------- what other sites' pages may do

JSON = {"Content-Type": "application/json"}
BODY = b'{"query": "{ __typename }"}'


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Origin": "<own>", **JSON}, BODY, 200),
        ({"Sec-Fetch-Site": "same-origin", **JSON}, BODY, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied.example", **JSON}, BODY, 200),
        (JSON, BODY, 403),
        ({"Origin": "https://evil.example", **JSON}, BODY, 403),
        ({"Origin": "null", **JSON}, BODY, 403),
        ({"Origin": "", **JSON}, BODY, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "<own>", **JSON}, BODY, 403),
        ({"Sec-Fetch-Site": "same-site", **JSON}, BODY, 403),
        ({"Sec-Fetch-Site": "none", **JSON}, BODY, 403),
        ({"Origin": "<own>", "Content-Type": "text/plain"}, BODY, 415),
        ({"Origin": "<own>", "Content-Type": "application/x-www-form-urlencoded"}, b"query=a", 415),
        ({"Origin": "<own>", "Content-Type": "multipart/form-data; boundary=a"}, b"--a--", 415),
        ({"Origin": "<own>"}, BODY, 415),
    ],
)
async def test_a_cookie_changes_something_only_from_our_own_pages(
    console: Console, headers: Mapping[str, str], content: bytes, status: int
) -> None:
    own = {name: value.replace("<own>", console.url) for name, value in headers.items()}
    ticket = await console.session("admin")
    async with console.client(ticket) as asking:
        del asking.headers["origin"]
        answer = await asking.post("/graphql", content=content, headers=own)
        assert answer.status_code == status, answer.text
        rest = await asking.delete("/api/v1/users/nobody", headers=own)
        assert rest.status_code == (403 if status == 403 else 404), rest.text
        out = await asking.post("/console/logout", headers=own)
        assert out.status_code == (403 if status == 403 else 303)
    # A program's token is no page's to use, whatever it says of its origin.
    async with console.client(headers={"Authorization": f"Bearer {console.tokens['admin']}"}) as program:
        assert (await program.post("/graphql", content=content, headers={**own, **JSON})).status_code != 403


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("null", 403), (None, 403), ("<own>", 401)]
)
async def test_the_form_is_taken_from_our_own_page_only(console: Console, origin: str | None, status: int) -> None:
    async with console.client() as asking:
        del asking.headers["origin"]
        headers = {} if origin is None else {"Origin": origin.replace("<own>", console.url)}
        answer = await asking.post("/console/login", data={"name": "a", "password": "b"}, headers=headers)
        assert answer.status_code == status
        as_json = await asking.post("/console/login", json={"name": "a", "password": "b"}, headers=headers)
        assert as_json.status_code == (401 if origin is None else status)


# ------------------------------------------------------------------------------------------------- what a session may do


async def test_every_route_is_open_to_the_roles_of_its_scope(console: Console) -> None:
    for role, scopes in ROLES.items():
        async with console.client(await console.session(role), headers=JSON) as browser:
            for route, needed in SCOPE_OF.items():
                method, path = route.split(" ")
                path = re.sub(r"\{\w+\}", "nobody", path.replace("{scheduled_at}", "2026-01-01T00:00:00Z"))
                answer = await browser.request(method, path)
                if "/hooks/" in path:
                    problem(answer, 401)  # for programs alone
                    continue
                allowed = needed is None or needed in scopes
                assert (answer.status_code not in (401, 403)) is allowed, (route, role, answer.text)


@pytest.mark.parametrize("role", list(ROLES))
async def test_graphql_is_open_by_the_same_scopes(console: Console, role: Role) -> None:
    fields = {
        "{ users { nextCursor } }": "read",
        'mutation { deleteFilter(name: "nobody") { name } }': "write",
        'mutation { run(configuration: "nobody") { __typename } }': "run",
        'mutation { deleteScript(name: "nobody") { name } }': "admin",
    }
    async with console.client(await console.session(role)) as browser:
        for query, needed in fields.items():
            answer = (await browser.post("/graphql", json={"query": query})).json()
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            assert codes <= {"FORBIDDEN", "NOT_FOUND"}, answer
            assert ("FORBIDDEN" in codes) is (needed not in ROLES[role]), (query, answer)


async def test_a_token_counts_more_than_the_cookie(console: Console) -> None:
    async with console.client(await console.session("admin")) as browser:
        assert (await browser.get("/api/v1/tokens")).status_code == 200
        reader = {"Authorization": f"Bearer {console.tokens['read']}"}
        problem(await browser.get("/api/v1/tokens", headers=reader), 403)
        problem(await browser.get("/api/v1/tokens", headers={"Authorization": "Bearer ntf_nonsense"}), 401)


async def test_what_a_person_does_is_in_the_audit_log_under_their_name(console: Console) -> None:
    async with console.client(await console.session("admin")) as browser:
        made = await browser.post("/api/v1/tokens", json={"name": "mine", "scopes": ["read"]})
        assert made.json()["created_by"].startswith("account person-")


async def test_people_may_see_the_schema_within_the_same_limits(console: Console) -> None:
    options: dict[str, Any] = {
        "schema_description": True, "input_value_deprecation": True, "specified_by_url": True, "directive_is_repeatable": True,
    }  # fmt: skip
    aliases = "{" + " ".join(f"a{n}: __typename" for n in range(31)) + "}"
    deep = "{ users { items " + "{ configurations { users " * 3 + "{ username }" + " } }" * 3 + " } }"
    long = "{" + "__typename " * 1_100 + "}"
    async with console.client(await console.session("viewer")) as browser:
        asked = {"query": get_introspection_query(**options), "operationName": "IntrospectionQuery"}
        answer = await browser.post("/graphql", json=asked)
        assert answer.json()["data"]["__schema"]["types"]
        for query in (aliases, deep, long):
            assert "data" not in (await browser.post("/graphql", json={"query": query})).json()
    async with console.client(headers={"Authorization": f"Bearer {console.tokens['read']}"}) as program:
        assert "data" not in (await program.post("/graphql", json={"query": "{ __schema { types { name } } }"})).json()


async def test_the_description_names_both_ways(console: Console) -> None:
    async with console.client(await console.session("viewer")) as browser:
        description = (await browser.get("/openapi.json")).json()
    assert description["components"]["securitySchemes"]["session"]["name"] == COOKIE
    assert description["paths"]["/api/v1/tokens"]["get"]["security"] == [{"token": ["admin"]}, {"session": ["admin"]}]
    assert not [path for path in description["paths"] if path.startswith(("/console", "/docs", "/assets", "/graphql"))]


async def test_a_page_that_does_not_ask_who_it_is_for_is_found(store_settings: Settings) -> None:
    app = create_app(store_settings)

    @app.get("/secret", include_in_schema=False)
    async def forgotten() -> str:
        return "everything"

    with pytest.raises(RuntimeError, match="/secret does not know who asks"):
        check_guarded(app)

    beside_one = create_app(store_settings)
    beside_one.add_api_route("/api/v1/users", forgotten, methods=["PUT"], include_in_schema=False)
    with pytest.raises(RuntimeError, match="/api/v1/users does not know who asks"):
        check_guarded(beside_one)


# ------------------------------------------------------------------------------------------------------ pages and assets


async def test_pages_run_no_script_but_ours(console: Console) -> None:
    async with console.client(await console.session()) as browser:
        for path in ("/console", "/docs", "/graphql"):
            answer = await browser.get(path, headers=BROWSER)
            policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
            assert policy.get("script-src", "'self'") == "'self'"
            assert policy["form-action"] == "'self'"
            assert policy["style-src"] == ("'self' 'unsafe-inline'" if path == "/graphql" else "'self'")
            assert not re.search(r"<script(?![^>]*\ssrc=\"/assets/)|\son\w+=|\sstyle=|<style|https?:", answer.text)
            for asset in re.findall(r"\"(/assets/[^\"]+)\"", answer.text):
                assert (await browser.get(asset)).status_code == 200, asset


async def test_assets_are_kept_by_browsers_and_open_to_anyone(console: Console) -> None:
    async with console.client() as browser:
        for path in served():
            answer = await browser.get(address(path))
            assert answer.content == (FOLDER / path).read_bytes()
            assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[Path(path).suffix]
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"
            same = await browser.get(address(path), headers={"If-None-Match": answer.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
        good = address("console/console.css")
        for path in (
            good.replace("/assets/", "/assets/0"),
            good.replace("console/console.css", "console/editor.css"),
            good.replace("console/console.css", "vendor/vendored.json"),
            good.replace("console/console.css", "../models.py"),
            good.replace("console/console.css", "..%2f..%2fmodels.py"),
            good.replace("console/console.css", "console"),
            "/assets/",
        ):
            problem(await browser.get(path), 404)


async def test_what_others_wrote_is_what_they_published() -> None:
    folder = FOLDER / "vendor"
    entries = json.loads((folder / "vendored.json").read_text())
    noted = {path: sum_ for entry in entries for path, sum_ in entry["files"].items()}
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    del files["vendored.json"]
    assert {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()} == noted
    for entry in entries:
        assert {path.split("/")[0] for path in entry["files"]} == {f"{entry['name']}-{entry['version']}"}
        assert any(path.endswith("/LICENSE") for path in entry["files"])


async def test_pages_and_assets_are_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    folders = (FOLDER, ROOT / "control_api" / "console" / "templates")
    wanted = {file.relative_to(ROOT).as_posix() for folder in folders for file in folder.rglob("*") if file.is_file()}
    assert wanted - packed == set()


# --------------------------------------------------------------------------------------------------------- in a browser

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Told as an error of the page, so that it is found with all others.
VIOLATIONS = """addEventListener("securitypolicyviolation", (found) =>
    console.error("policy", found.violatedDirective, found.blockedURI));"""


@asynccontextmanager
async def browsing(console: Console, folder: Path, *others: str) -> AsyncIterator[Page]:
    """A page of a fresh Chromium. Fails when it had an error, broke the policy, or asked anybody but this API and `others`."""
    assert CHROMIUM is not None
    wrong: list[str] = []
    async with async_playwright() as driver:
        context = await driver.chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, headless=True, args=ARGUMENTS
        )
        try:
            await context.add_init_script(VIOLATIONS)
            context.on(
                "request",
                lambda request: (
                    None if request.url.startswith((f"{console.url}/", "data:", *others)) else wrong.append(request.url)
                ),
            )
            context.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
            context.on("weberror", lambda error: wrong.append(str(error.error)))
            page = context.pages[0]
            page.set_default_timeout(60_000)
            yield page
        finally:
            await context.close()
    assert wrong == []


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")
async def test_a_person_signs_in_asks_reads_and_signs_out(console: Console, tmp_path: Path) -> None:
    name = await console.account("editor")
    async with browsing(console, tmp_path) as page:
        await page.goto(f"{console.url}/graphql")
        assert page.url == f"{console.url}/console/login?next=%2Fgraphql"
        await page.fill("#name", name)
        await page.fill("#password", PASSWORD)
        await page.press("#password", "Enter")

        # GraphiQL: a query with variables, the schema, a dialog.
        await page.wait_for_url(f"{console.url}/graphql")
        answer = page.locator(".result-window")
        await page.click(".graphiql-execute-button")
        await answer.get_by_text('"configurations"').wait_for()
        await page.click("[aria-label='Show Documentation Explorer']")
        await page.get_by_role("link", name="Mutation", exact=True).click()
        await page.get_by_text("updateConfiguration").first.wait_for()
        await page.click("[aria-label='Open settings dialog']")
        await page.get_by_text("Clear storage").wait_for()
        await page.keyboard.press("Escape")
        given = {"query": "query($limit: Int!) { users(limit: $limit) { nextCursor } }"}
        await page.goto(f"{console.url}/graphql?{urlencode({**given, 'variables': json.dumps({'limit': 7})})}")
        await page.click(".graphiql-execute-button")
        await answer.get_by_text('"users"').wait_for()
        # A token among the headers counts more than the cookie: an editor may delete, its scope does not.
        delete_one = {"query": 'mutation { deleteFilter(name: "nobody") { name } }'}
        await page.goto(f"{console.url}/graphql?{urlencode(delete_one)}")
        await page.click(".graphiql-execute-button")
        await answer.get_by_text('"NOT_FOUND"').wait_for()
        await page.get_by_text("Headers", exact=True).click()
        await page.click(".graphiql-editor-tool .graphiql-editor:not(.hidden) > .CodeMirror")
        await page.keyboard.insert_text(json.dumps({"Authorization": f"Bearer {console.tokens['read']}"}))
        await page.click(".graphiql-execute-button")
        await answer.get_by_text('"FORBIDDEN"').wait_for()

        # The description of REST: shown, and tried out with the cookie.
        await page.goto(f"{console.url}/console")
        assert f"Signed in as {name}, editor." in await page.inner_text("main")
        await page.click("text=API docs")
        await page.get_by_text("/api/v1/users/{username}").first.wait_for()
        await page.click("button.authorize")
        assert await page.locator(".auth-container h4").all_inner_texts() != []
        await page.click(".auth-btn-wrapper .btn-done >> nth=0")
        operation = page.locator(".opblock-post", has_text="/api/v1/users").first
        await operation.locator(".opblock-summary-control").click()
        await operation.get_by_role("button", name="Try it out").click()
        await operation.locator("textarea.body-param__text").fill(json.dumps({"username": "browsed"}))
        await operation.get_by_role("button", name="Execute").click()
        await operation.locator(".live-responses-table .response-col_status", has_text="201").wait_for()

        # Signing out; what was open before is not there any more.
        await page.goto(f"{console.url}/console")
        assert await page.evaluate("sessionStorage.length + localStorage.length") > 0
        await page.click("text=Sign out")
        await page.wait_for_url(f"{console.url}/console/login")
        assert await page.evaluate("sessionStorage.length + localStorage.length") == 0
        await page.goto(f"{console.url}/docs")
        assert page.url == f"{console.url}/console/login?next=%2Fdocs"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")
async def test_a_session_that_ended_leads_from_the_editor_back_to_the_form(console: Console, tmp_path: Path) -> None:
    ticket = await console.session()
    async with browsing(console, tmp_path) as page:
        await page.context.add_cookies([{"name": COOKIE, "value": ticket, "url": console.url, "sameSite": "Strict"}])
        await page.goto(f"{console.url}/graphql")
        await page.locator(".graphiql-execute-button").wait_for()
        await page.goto(f"{console.url}/console")
        await close_session(console.database, ticket)
        await page.click("text=GraphiQL")
        await page.wait_for_url(f"{console.url}/console/login?next=%2Fgraphql")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")
async def test_a_link_on_another_site_leads_to_the_editor_without_signing_in_again(
    console: Console, tmp_path: Path
) -> None:
    other = console.url.replace("127.0.0.1", "localhost")  # another site to a browser, with a cookie jar of its own
    async with browsing(console, tmp_path, f"{other}/") as page:
        ticket = await console.session()
        await page.context.add_cookies([{"name": COOKIE, "value": ticket, "url": console.url, "sameSite": "Strict"}])
        for signed_in in (True, False):
            await page.goto(f"{other}/console/login")
            await page.evaluate("there => { location.href = there; }", f"{console.url}/graphql?query=%7B__typename%7D")
            if signed_in:
                await page.wait_for_url(f"{console.url}/graphql?query=%7B__typename%7D")
                await page.locator(".graphiql-execute-button").wait_for()
                await page.context.clear_cookies()
            else:
                await page.wait_for_url(f"{console.url}/console/login?next=**")
                await page.locator("#password").wait_for()
