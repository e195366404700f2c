"""`/console` and `/docs`: who is signed in and where to go, and the description of REST for people."""

from fastapi import APIRouter, Request, Response

from control_api.access.sessions import find_account
from control_api.console.pages import DOCS, page
from control_api.http.auth import PageActor, Ticket, ToSignIn
from control_api.parts import PartsDep

router = APIRouter(include_in_schema=False)


@router.get("/console")
async def home(request: Request, parts: PartsDep, actor: PageActor, ticket: Ticket) -> Response:
    """For somebody who is signed in; a token alone is sent to sign in."""
    account = await find_account(parts.database, ticket) if ticket is not None else None
    if account is None:
        raise ToSignIn(request)
    return page("home.html", account=account)


@router.get("/docs")
async def docs(actor: PageActor) -> Response:
    """Swagger UI, which reads `/openapi.json` as whoever looks at it."""
    return page("docs.html", policy=DOCS)
