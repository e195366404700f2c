"""View: what each page knows of its reader, and how they read: language, theme and zone.

The language is what the reader chose, else the first of the browser's that there is. The zone is the browser's own, which
`console.js` tells in a cookie; times are in UTC until it has.
"""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from control_api.access.accounts import Account
from control_api.access.actor import Actor, Scope
from control_api.access.sessions import find_account
from control_api.console.navigation import NAVIGATION
from control_api.console.pages import ENHANCED, page
from control_api.console.words import LANGUAGES, chosen_language
from control_api.http.auth import FormActor, PageActor, Ticket, ToSignIn
from control_api.http.body import read_body
from control_api.http.problems import Problem
from control_api.parts import Parts, PartsDep

LANGUAGE, THEME, ZONE = "notifier_language", "notifier_theme", "notifier_zone"  # cookies
THEMES = ("auto", "light", "dark")
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class View:
    """One request of a person who is signed in."""

    request: Request
    parts: Parts
    actor: Actor
    account: Account

    def may(self, scope: Scope) -> bool:
        """Whether the reader has a scope: what they may not do is not shown."""
        return self.actor.may(scope)

    def require(self, scope: Scope) -> None:
        """Raises Problem 403 for a reader without the scope."""
        if not self.may(scope):
            raise Problem(403, f"this needs the scope {scope!r}, which the role {self.account.role!r} does not have")

    def page(self, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """The page of a template, within the frame of the console."""
        return framed(self.request, template, status=status, view=self, **values)

    def here(self, **changes: object) -> str:
        """This address with other query parameters; None leaves one out."""
        given = {name: value for name, value in self.request.query_params.items() if name not in changes}
        given |= {name: str(value) for name, value in changes.items() if value is not None}
        return self.request.url.path + (f"?{urlencode(given)}" if given else "")


def framed(request: Request, template: str, *, status: int, view: View | None, **values: object) -> HTMLResponse:
    """A page in the reader's language, theme and zone; `view` is None for who is not signed in."""
    known: dict[str, Any] = {
        "view": view,
        "path": request.url.path,
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "navigation": NAVIGATION,
        "languages": LANGUAGES,
        "zone": zone_of(request),
    }
    return page(template, policy=ENHANCED, status=status, **reading(request), **known | values)


def reading(request: Request) -> dict[str, Any]:
    """The language and the colours of who asks."""
    theme = request.cookies.get(THEME, "auto")
    return {
        "language": chosen_language(request.cookies.get(LANGUAGE), request.headers.get("accept-language", "")),
        "theme": theme if theme in THEMES else "auto",
    }


def zone_of(request: Request) -> ZoneInfo:
    """The reader's zone; UTC where the browser has not told one that there is."""
    name = request.cookies.get(ZONE, "UTC")
    try:
        return ZoneInfo(name.replace("%2F", "/"))
    except (ValueError, OSError, KeyError):  # KeyError: of a zone that is not known here, such as `Etc/Unknown`
        return ZoneInfo("UTC")


async def _view(request: Request, parts: PartsDep, actor: PageActor, ticket: Ticket) -> View:
    account = await find_account(parts.database, ticket) if ticket is not None else None
    if account is None:  # a token opens no pages
        raise ToSignIn(request)
    return View(request=request, parts=parts, actor=actor, account=account)


async def _submitted(request: Request, parts: PartsDep, actor: FormActor, ticket: Ticket) -> View:
    return await _view(request, parts, actor, ticket)


ViewDep = Annotated[View, Depends(_view)]
FormDep = Annotated[View, Depends(_submitted)]


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form, each once. Raises Problem 400 and 415."""
    _, body = await read_body(request, FORM)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=200))
    except ValueError:
        raise Problem(400, "the body is not a form") from None


def see_other(where: str) -> RedirectResponse:
    """Leads to a page after a change, so that loading it again changes nothing."""
    return RedirectResponse(where, 303)
