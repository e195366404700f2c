"""The console in a real Chromium."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Locator, Page, async_playwright

from control_api.access.sessions import COOKIE, close_session
from notifier.outcome import KINDS
from tests.rigs.console_server import PASSWORD, Console

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


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


async def scroll_to(page: Page, wanted: Locator) -> None:
    """Scrolls down until it is there: Swagger UI has only that on a long page which is near to what is seen."""
    await page.locator(".opblock").first.wait_for()
    async with asyncio.timeout(60):
        while not await wanted.count():
            await page.mouse.wheel(0, 300)
            await page.wait_for_timeout(100)


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
        assert await page.inner_text(".who") == f"{name} editor"
        await page.click(".side >> text=API docs")
        await page.click("button.authorize")
        assert await page.locator(".auth-container h4").all_inner_texts() != []
        await page.click(".auth-btn-wrapper .btn-done >> nth=0")
        operation = page.locator(".opblock-post", has=page.locator("[data-path='/api/v1/users']"))
        await scroll_to(page, operation)
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
        await page.click(".side >> text=GraphiQL")
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


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")
async def test_pages_fit_a_phone_in_both_languages_and_colours(console: Console, tmp_path: Path) -> None:
    ticket = await console.session("admin")
    async with browsing(console, tmp_path) as page:
        await page.context.add_cookies([{"name": COOKIE, "value": ticket, "url": console.url, "sameSite": "Strict"}])
        await page.set_viewport_size({"width": 360, "height": 740})
        for language, theme in (("en", "light"), ("ru", "dark")):
            await page.goto(f"{console.url}/console")
            await page.select_option("#language", language)
            await page.select_option("#theme", theme)
            await page.click("footer button")
            assert await page.get_attribute("html", "lang") == language
            assert await page.get_attribute("html", "data-theme") == theme
            for name in (
                *(f"{kind}s" for kind in KINDS),
                "users/~new",
                "messages?live=1",
                "dead_letters",
                "runs",
                "system",
            ):
                await page.goto(f"{console.url}/console/{name}")
                assert await page.evaluate("document.documentElement.scrollWidth") <= 360, name
                assert await page.locator("h1").count() == 1
