"""Where a browser is sent to, and who gets a page instead of an answer."""

from urllib.parse import urlencode

import pytest
from fastapi import Request

from control_api.console.sign_in import local
from control_api.http.accept import is_browser
from tests.rigs.console_server import BROWSER, PASSWORD, Console
from tests.rigs.problems import problem

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


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
