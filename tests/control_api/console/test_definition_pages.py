"""The pages of definitions: what people read, write and are told there."""

import json
import re
import shlex
from html import unescape

import httpx
import pytest

from control_api.access.actor import COMMAND_LINE
from control_api.access.sessions import COOKIE
from control_api.console.messages import ways_of
from control_api.definitions.audit import AuditQuery, audit
from control_api.registry import load_registry
from tests.rigs.console_server import BROWSER, Console

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = "name: new\ntype: severity\nparameters: {at_least: error}\n"
HOSTILE = "<script>alert(1)</script>\"'&" + "x" * 150


def version_in(page: str) -> str:
    found = re.search(r'name="version" value="(\d*)"', page)
    assert found is not None
    return found[1]


def text_in(page: str) -> str:
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert found is not None
    return unescape(found[1])


async def post(browser: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    return await browser.post(path, data=fields, headers=BROWSER)


async def test_a_definition_is_made_changed_brought_back_and_deleted(console: Console) -> None:
    name = await console.account("editor")
    async with console.client(headers=BROWSER) as browser:
        await browser.post("/console/login", data={"name": name, "password": "correct horse battery"})
        made = await post(
            browser, "/console/filters/~new", text="name: loud\ntype: severity\nparameters: {at_least: error}\n"
        )
        assert (made.status_code, made.headers["location"]) == (303, "/console/filters/loud?saved=1")
        shown = (await browser.get("/console/filters/loud")).text
        first = version_in(shown)
        changed = text_in(shown).replace("error", "warning")
        assert (await post(browser, "/console/filters/loud", text=changed, version=first)).status_code == 303
        now = (await browser.get("/console/filters/loud")).text
        assert "at_least: warning" in text_in(now)
        assert (await post(browser, "/console/filters/loud/rollback", version=first)).status_code == 303
        back = (await browser.get("/console/filters/loud")).text
        assert "at_least: error" in text_in(back)
        gone = await post(browser, "/console/filters/loud", act="delete", version=version_in(back))
        assert (gone.status_code, gone.headers["location"]) == (303, "/console/filters")
        assert "loud" not in (await browser.get("/console/filters")).text
    async with console.database.read() as session:
        entries, _ = await audit(session, COMMAND_LINE, AuditQuery(name="loud"), load_registry())
    assert [(one["actor"], one["action"]) for one in reversed(entries)] == [
        (f"account {name}", action) for action in ("create", "replace", "rollback", "delete")
    ]


async def test_a_definition_may_be_called_new(console: Console) -> None:
    async with console.client(await console.session("editor"), headers=BROWSER) as browser:
        assert (await post(browser, "/console/filters/~new", text=NEW)).status_code == 303
        assert version_in((await browser.get("/console/filters/new")).text)
        changed = await post(browser, "/console/filters/new", text=NEW.replace("error", "warning"))
        assert changed.headers["location"] == "/console/filters/new?saved=1"


async def test_what_is_wrong_is_told_and_what_was_written_stays(console: Console) -> None:
    async with console.client(await console.session("editor"), headers=BROWSER) as browser:
        for text, told in (
            ("name: odd\ntype: severity\nparameters: {at_least: deafening}\n", "/parameters/at_least"),
            ("name: odd\ntype: nothing\n", "/type"),
            ("name: [", "is not YAML"),
            ("", "must be one object"),
            ("- a\n", "must be one object"),
            ("name: odd\nname: even\ntype: severity\n", "name"),
        ):
            answer = await post(browser, "/console/filters/~new", text=text)
            assert answer.status_code == 422, text
            assert told in unescape(answer.text), text
            assert text_in(answer.text).strip() == text.strip()


async def test_who_comes_second_is_told_that_it_changed(console: Console) -> None:
    async with console.client(await console.session("editor"), headers=BROWSER) as browser:
        await post(browser, "/console/groups/~new", text="name: shared\n")
        page = (await browser.get("/console/groups/shared")).text
        first = await post(
            browser, "/console/groups/shared", text="name: shared\ntitle: One\n", version=version_in(page)
        )
        second = await post(
            browser, "/console/groups/shared", text="name: shared\ntitle: Two\n", version=version_in(page)
        )
        assert (first.status_code, second.status_code) == (303, 409)
        assert "title: Two" in text_in(second.text)
        assert "title: One" in text_in((await browser.get("/console/groups/shared")).text)


@pytest.mark.parametrize(("role", "sees", "changes"), [("viewer", 200, 403), ("editor", 200, 303), ("admin", 200, 303)])
async def test_each_role_may_what_it_may(console: Console, role: str, sees: int, changes: int) -> None:
    async with console.client(await console.session(role), headers=BROWSER) as browser:  # type: ignore[arg-type]
        page = await browser.get("/console/groups")
        assert page.status_code == sees
        assert ("/console/groups/~new" in page.text) is (role != "viewer")
        answer = await post(browser, "/console/groups/~new", text=f"name: of-{role}\n")
        assert answer.status_code == changes
        assert (await browser.get("/console/audit")).status_code == (200 if role == "admin" else 403)
        script = await post(browser, "/console/scripts/~new", text=f"name: of-{role}\ncontent: echo\n")
        assert script.status_code == (303 if role == "admin" else 403)


async def test_a_form_of_another_site_changes_nothing(console: Console) -> None:
    ticket = await console.session("admin")
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        async with console.client(ticket, headers={**BROWSER, **headers}) as browser:
            answer = await post(browser, "/console/groups/~new", text="name: forged\n")
            assert answer.status_code == 403
    async with console.client(ticket, headers=BROWSER) as browser:
        assert (await browser.get("/console/groups/forged")).status_code == 404


async def test_markup_in_names_and_texts_is_shown_as_text(console: Console) -> None:
    async with console.client(await console.session("admin"), headers=BROWSER) as browser:
        title = HOSTILE.replace("'", "''")
        assert (
            await post(browser, "/console/groups/~new", text=f"name: hostile\ntitle: '{title}'\n")
        ).status_code == 303
        for path in (
            "/console/groups",
            "/console/groups/hostile",
            "/console/groups?q=%3Cscript%3E",
            "/console/%3Cscript%3E",
        ):
            answer = await browser.get(path)
            assert "<script>alert" not in answer.text
            assert not re.search(r"<script(?![^>]*\ssrc=)", answer.text)
        for given in (HOSTILE, "x" * 10_000, "\0", "\ud800"):
            answer = await post(
                browser, "/console/groups/~new", text=f"name: {given}".encode(errors="replace").decode()
            )
            assert answer.status_code in (400, 422)
            assert "<script>alert" not in answer.text


async def test_errors_are_pages_for_browsers_and_problems_for_programs(console: Console) -> None:
    async with console.client(await console.session(), headers=BROWSER) as browser:
        missing = await browser.get("/console/users/nobody")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "script-src 'self'" in missing.headers["content-security-policy"]
        assert (await browser.get("/console/nothing")).status_code == 404
        assert (await browser.get("/")).headers["location"] == "/console"
        program = await browser.get("/console/users/nobody", headers={"Accept": "application/json"})
        assert program.headers["content-type"] == "application/problem+json"
        assert (await browser.get("/", headers={"Accept": "application/json"})).status_code == 404


async def test_language_and_colours_are_kept(console: Console) -> None:
    async with console.client(await console.session(), headers=BROWSER) as browser:
        assert '<html lang="ru"' in (await browser.get("/console", headers={"Accept-Language": "ru-RU,en;q=0.5"})).text
        assert '<html lang="en"' in (await browser.get("/console", headers={"Accept-Language": "tlh, q;q=x"})).text
        answer = await post(browser, "/console/preferences", language="ru", theme="dark", next="/console/users")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/users")
        page = (await browser.get("/console/users")).text
        assert '<html lang="ru" data-theme="dark">' in page
        assert "Пользователи" in page
        await post(browser, "/console/preferences", language="xx", theme="<b>", next="https://evil.example")
        assert '<html lang="ru" data-theme="dark">' in (await browser.get("/console/users")).text


async def test_a_zone_that_is_not_known_here_is_no_fault(console: Console) -> None:
    async with console.client(await console.session(), headers=BROWSER) as browser:
        for zone in ("Etc/Unknown", "Etc%2FUnknown", "Europe", "../../etc/passwd", "", "x" * 500):
            answer = await browser.get(
                "/console", headers={"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}; notifier_zone={zone}"}
            )
            assert answer.status_code == 200, zone
            assert "in the zone UTC" in answer.text


async def test_a_version_or_cursor_that_is_none_is_told(console: Console) -> None:
    async with console.client(await console.session("admin"), headers=BROWSER) as browser:
        await post(browser, "/console/groups/~new", text="name: versioned\n")
        for version in ("1" * 5_000, "x", "-1"):
            answer = await post(browser, "/console/groups/versioned", text="name: versioned\n", version=version)
            assert answer.status_code == 422
        assert (
            await post(browser, "/console/groups/versioned", text="name: versioned\n", act="verify")
        ).status_code == 303
        for page in ("audit", "system", "runs", "dead_letters"):
            assert (await browser.get(f"/console/{page}?cursor={'x' * 600}")).status_code == 422


async def test_what_a_token_is_bound_to_is_shown(console: Console) -> None:
    async with console.client(await console.session("admin"), headers=BROWSER) as browser:
        await post(browser, "/console/producers/~new", text="name: only-ci\ntype: push\n")
        made = await browser.post("/api/v1/tokens", json={"name": "bound", "producer": "only-ci"})
        assert made.status_code == 201
        assert "only-ci" in (await browser.get("/console/access")).text


@pytest.mark.parametrize("id_", ["build-42", "'; touch /tmp/x; echo '", '$(id) `id` "\\', "-h", "two\nlines", "–"])
async def test_commands_to_copy_are_one_command_whatever_the_id(id_: str) -> None:
    ways = ways_of("ci", id_, "http://127.0.0.1:8000/")
    assert shlex.split(ways["notifier"]) == ["notifier", "explain", "--producer=ci", f"--id={id_}"]
    curl = shlex.split(ways["curl"])
    assert (json.loads(curl[4]), curl[5:]) == (
        {"producer": "ci", "id": id_},
        ["http://127.0.0.1:8000/api/v1/explain"],
    )
