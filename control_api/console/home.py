"""`/console`, the start page, and `/docs`, Swagger UI."""

from fastapi import APIRouter, Request, Response

from control_api.access.sessions import find_account
from control_api.console.pages import DOCS, page
from control_api.http.auth import PageActor, Ticket, ToSignIn
from control_api.parts import PartsDep

router = APIRouter(include_in_schema=False)


@router.get("/console")
async def home(request: Request, parts: PartsDep, actor: PageActor, ticket: Ticket) -> Response:
    """The account that is signed in, and the links to all pages. Without a session, also with a token: to the form."""
    account = await find_account(parts.database, ticket) if ticket is not None else None
    if account is None:
        raise ToSignIn(request)
    return page("home.html", account=account)


@router.get("/docs")
async def docs(actor: PageActor) -> Response:
    """Swagger UI, which reads `/openapi.json` with the browser's own session."""
    return page("docs.html", policy=DOCS)
