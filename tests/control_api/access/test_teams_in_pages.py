"""Teams on the console's pages: each page shows and changes what REST shows and changes."""

import re
from collections.abc import Iterator
from html import unescape

import pytest

from control_api.access.actor import Scope
from notifier.outcome import KINDS, Kind
from tests.rigs.console_server import BROWSER
from tests.rigs.teams_rig import TEAMS, Caller, Teams, name_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEOPLE = ("viewer red", "editor red", "admin red", "editor -")  # a token opens no pages
RECORDS = ("messages", "dead_letters", "runs")


def _people(teams: Teams) -> Iterator[tuple[str, Caller]]:
    return ((one.name, one) for one in teams.callers if one.name in PEOPLE and "Cookie" in one.headers)


@pytest.mark.parametrize("kind", KINDS)
async def test_pages_of_definitions(teams: Teams, kind: Kind) -> None:
    for name, caller in _people(teams):
        scope: Scope = "admin" if kind == "script" else "write"
        async with teams.client(caller) as browser:
            browser.headers.update(BROWSER)
            listed = (await browser.get(f"/console/{kind}s")).text
            for owner in TEAMS:
                hidden = teams.strict and caller.is_kept_out(owner)
                path = f"/console/{kind}s/{name_of(owner)}"
                assert (f'href="{path}"' in listed) is not hidden, (name, owner)
                page = await browser.get(path)
                assert page.status_code == (404 if hidden else 200), (name, owner)
                asked = {"text": "no: thing", "act": "save", "version": "1"}
                for form in (asked, {**asked, "act": "delete", "version": "999999"}):
                    answer = await browser.post(path, data=form)
                    if not caller.may(scope):
                        expected = {403}
                    elif hidden:
                        expected = {404}
                    else:
                        expected = {409, 422} if not caller.is_kept_out(owner) else {409}
                    assert answer.status_code in expected, (name, owner, form, answer.text)
                answer = await browser.post(f"{path}/rollback", data={"version": "999999"})
                expected = {403} if not caller.may(scope) else {404} if hidden else {409, 422}
                assert answer.status_code in expected, (name, owner, answer.text)


@pytest.mark.parametrize("page", RECORDS)
async def test_pages_of_what_happened(teams: Teams, page: str) -> None:
    for name, caller in _people(teams):
        async with teams.client(caller) as browser:
            browser.headers.update(BROWSER)
            text = unescape((await browser.get(f"/console/{page}")).text)
            main = text[text.index("<main") :]
            for owner in ("red", "blue"):
                shown = re.search(rf"\b{owner}\b", main) is not None
                assert shown is not (teams.strict and caller.is_kept_out(owner)), (name, owner)
