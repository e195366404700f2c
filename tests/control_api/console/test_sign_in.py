"""Signing in and out, by form and by JSON."""

from http.cookies import SimpleCookie

import httpx
import pytest

from control_api.access.sessions import COOKIE, find_account
from control_api.access.sign_in_limit import TRIES, WINDOW_S
from notifier.record import JsonObject
from tests.rigs.console_server import BROWSER, PASSWORD, Console
from tests.rigs.kafka_tools import wait_until
from tests.rigs.problems import problem

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


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

    async def noted() -> list[JsonObject]:
        async with console.client(headers={"Authorization": f"Bearer {console.tokens['admin']}"}) as admin:
            log = (await admin.get("/api/v1/audit", params={"action": "sign_in_failed"})).json()["items"]
        return [item for item in log if item["name"] == name]

    (entry,) = await wait_until(noted)
    assert entry["actor"] == "nobody"
    assert entry["changes"][0]["after"]["address"].startswith("127.0.")


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
