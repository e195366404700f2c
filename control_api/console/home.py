"""`/console`, the start page, `/docs`, Swagger UI, and how the reader likes to read."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from control_api.access.teams import seen_history, sight_of
from control_api.console.pages import DOCS, page
from control_api.console.sign_in import local
from control_api.console.view import LANGUAGE, THEME, THEMES, FormDep, View, ViewDep, fields_of, see_other
from control_api.console.words import LANGUAGES
from control_api.definitions.status_page import status_page
from control_api.history import records
from control_api.history.counters import CounterQuery, counters
from control_api.history.queries import AttemptQuery
from control_api.http.auth import PageActor
from control_api.http.origin import is_https
from control_api.models import CounterRow
from control_api.page_query import PageQuery
from notifier.outcome import Outcome
from notifier.record import JsonObject, now

router = APIRouter(include_in_schema=False)

_YEAR_S = 365 * 24 * 3600
_FAILED: tuple[Outcome, ...] = ("refused", "unknown", "deferred")
_SHOWN = 10


@router.get("/console")
async def home(view: ViewDep) -> Response:
    """What went through in the last hour, what needs attention, and the last failures."""
    view.require("read")
    services = view.parts.services.seen_by(view.actor)
    configurations = await services.list("configuration", 1)
    statuses, _ = await status_page(view.parts.statuses, services, view.actor, PageQuery(limit=100))
    return view.page(
        "home.html",
        empty=not configurations.items,
        figures=await _figures(view),
        troubles=[one for one in statuses if one["state"] not in ("ready", "moved", "resumed")],
        failures=await _failures(view),
    )


async def _figures(view: View) -> list[tuple[str, int]]:
    query = CounterQuery(since=now() - timedelta(hours=1), step="minute", by="outcome", limit=5_000)
    async with view.parts.database.read() as session:
        found = await counters(session, query, seen_history(view.actor, CounterRow))
    counts: dict[str, int] = {"accepted": 0, "suppressed": 0, "held": 0, "deferred": 0, "refused": 0}
    for point in found["items"]:
        counts[point["outcome"]] = counts.get(point["outcome"], 0) + point["count"]
    return list(counts.items())


async def _failures(view: View) -> list[JsonObject]:
    """The newest attempts that failed, of any kind."""
    failures: list[JsonObject] = []
    async with view.parts.database.read() as session:
        for outcome in _FAILED:
            query = AttemptQuery(outcome=outcome, limit=_SHOWN)
            failures += (await records.attempts(session, query, sight_of(view.actor)))[0]
    return sorted(failures, key=lambda one: str(one["ended_at"]), reverse=True)[:_SHOWN]


@router.post("/console/preferences")
async def prefer(request: Request, view: FormDep) -> Response:
    """Keeps language and colours in the browser, and leads back."""
    given = await fields_of(request)
    answer = see_other(local(given.get("next", "/console")))
    for cookie, value, known in ((LANGUAGE, given.get("language"), LANGUAGES), (THEME, given.get("theme"), THEMES)):
        if value is not None and value in known:
            answer.set_cookie(
                cookie, value, max_age=_YEAR_S, path="/", httponly=True, samesite="strict", secure=is_https(request)
            )
    return answer


@router.get("/docs")
async def docs(actor: PageActor) -> Response:
    """Swagger UI, which reads `/openapi.json` with the browser's own session."""
    return page("docs.html", policy=DOCS)
