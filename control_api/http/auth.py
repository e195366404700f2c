"""Authorization: who may call which route.

Programs send a token, browsers the cookie of `control_api.access.sessions`; where both come, the token counts. A route names
its scope by one of the `…Actor` types below in its signature. `check_guarded` refuses an app with a route that names none;
`OPEN` lists the addresses that are open on purpose.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request, Response, Security
from fastapi.dependencies.models import Dependant
from fastapi.responses import RedirectResponse
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from control_api.access.actor import Actor, Scope
from control_api.access.sessions import COOKIE, find_account
from control_api.access.tokens import authenticate
from control_api.http.accept import is_browser
from control_api.http.headers import header
from control_api.http.origin import check_cookie_request, check_origin
from control_api.http.problems import Problem, unauthorized
from control_api.parts import Parts, PartsDep

SIGN_IN = "/console/login"
OPEN = frozenset(
    {
        "/health/live",
        "/health/ready",
        SIGN_IN,
        "/console/logout",  # it ends what the cookie says, and nothing else
        "/assets/{sum}/{path:path}",  # the pages' scripts and styles, the same in every installation
    }
)

_bearer = HTTPBearer(
    scheme_name="token",
    auto_error=False,
    description="A token of `notifier token create` or `POST /api/v1/tokens`. Each operation names the scope that it needs.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]

_cookie = APIKeyCookie(
    name=COOKIE,
    scheme_name="session",
    auto_error=False,
    description="A browser's own: signing in at `/console/login` sets it. It may do what the account's role may.",
)
Ticket = Annotated[str | None, Security(_cookie)]


async def identify(request: Request, parts: PartsDep, credentials: Credentials, ticket: Ticket) -> Actor:
    """The caller, of any scope. Raises Problem 401; 403 and 415 for what another site's page may have sent.

    A session that has ended is refused at once, and so is a token, unless another process ended it: see `control_api.look_up`.
    """
    if credentials is None and ticket is not None:
        account = await find_account(parts.database, ticket)
        if account is not None:
            check_cookie_request(request)
            return _under(parts, account.actor)
    return await identify_token(parts, credentials)


async def identify_token(parts: PartsDep, credentials: Credentials) -> Actor:
    """The caller whose token it is. Raises Problem 401."""
    if credentials is None:
        raise unauthorized(
            "this needs a token: Authorization: Bearer ntf_… (see `notifier token create`); people sign in at"
            f" {SIGN_IN}"
        )
    return await identify_text(parts, credentials.credentials)


async def identify_text(parts: Parts, text: str) -> Actor:
    """The caller whose token has that text. Raises Problem 401."""
    token = await authenticate(parts.database, parts.tokens, text)
    if token is None:
        problem = unauthorized("the token is unknown, expired or revoked; see `notifier token list`")
        problem.headers["WWW-Authenticate"] += ', error="invalid_token"'
        raise problem
    return _under(parts, token.actor)


def _under(parts: Parts, actor: Actor) -> Actor:
    """The actor under this API's rule for teams."""
    return replace(actor, strict=True) if parts.settings.teams == "strict" else actor


async def authorize(scopes: SecurityScopes, actor: Annotated[Actor, Depends(identify)]) -> Actor:
    """The caller, if they have the route's scopes. Raises Problem 401 and 403."""
    for scope in scopes.scopes:
        if not actor.may(scope):  # type: ignore[arg-type]  # FastAPI has `str` where our routes have `Scope`
            raise Problem(
                403,
                f"this needs the scope {scope!r}, and {actor.name} has {', '.join(sorted(actor.scopes))}",
                headers={"WWW-Authenticate": f'Bearer realm="notifier", error="insufficient_scope", scope="{scope}"'},
            )
    if not scopes.scopes:  # a route without a scope, which `check_guarded` finds at the start
        raise Problem(403, "this address is open to nobody")
    return actor


async def caller(request: Request, parts: Parts, scope: Scope) -> Actor:
    """The caller, if they have the scope, of a request that FastAPI does not route. Raises as `identify` and `authorize` do."""
    scheme, _, text = (header(request.scope, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        actor = await identify_text(parts, text.strip())
    else:
        actor = await identify(request, parts, await _bearer(request), await _cookie(request))
    return actor if actor.may(scope) else await authorize(SecurityScopes([scope]), actor)


class ToSignIn(Problem):
    """Sends a browser to sign in and, once it has, back to what it asked for."""

    def __init__(self, request: Request) -> None:
        super().__init__(303, "sign in first")
        self._next = request.url.path + (f"?{request.url.query}" if request.url.query else "")

    def response(self) -> Response:
        """The answer itself."""
        return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': self._next})}", 303)


async def enter(request: Request, parts: PartsDep, credentials: Credentials, ticket: Ticket) -> Actor:
    """`identify` for pages: a browser that is not signed in is sent to sign in."""
    try:
        return await identify(request, parts, credentials, ticket)
    except Problem as problem:
        if problem.status == 401 and is_browser(request):
            raise ToSignIn(request) from None
        raise


async def submit(request: Request, parts: PartsDep, ticket: Ticket) -> Actor:
    """Who sent a form of a page of ours. A browser that is not signed in is sent to sign in. Raises Problem 403."""
    check_origin(request)
    account = await find_account(parts.database, ticket) if ticket is not None else None
    if account is None:
        raise ToSignIn(request)
    return _under(parts, account.actor)


PageActor = Annotated[Actor, Depends(enter)]  # pages hold no data; the routes that their scripts call name their scopes
FormActor = Annotated[Actor, Depends(submit)]  # the page's own routes name their scopes
AnyActor = Annotated[Actor, Depends(identify)]  # GraphQL alone: there each field names its scope
ReadActor = Annotated[Actor, Security(authorize, scopes=["read"])]
WriteActor = Annotated[Actor, Security(authorize, scopes=["write"])]
RunActor = Annotated[Actor, Security(authorize, scopes=["run"])]
PushActor = Annotated[Actor, Security(authorize, scopes=["push"])]
AdminActor = Annotated[Actor, Security(authorize, scopes=["admin"])]


def check_guarded(app: FastAPI) -> None:
    """Raises RuntimeError when an operation of the app needs no scope and is not in `OPEN`.

    Routes that the description leaves out (pages, GraphQL) must at least identify the caller.
    """
    described = app.openapi()["paths"]
    for route in iter_route_contexts(app.routes):
        methods = {method.lower() for method in route.methods or ()}
        if route.path in OPEN or (methods and methods <= described.get(route.path_format or "", {}).keys()):
            continue
        calls = set(_calls(getattr(route, "dependant", None)))
        if not calls & {identify, enter, submit, authorize}:
            raise RuntimeError(f"{route.path} does not know who asks: give it an …Actor of control_api.http.auth")
    for path, operations in described.items():
        for method, operation in operations.items():
            scopes = [scope for way in operation.get("security", []) for scope in way.get("token", [])]
            if not scopes and path not in OPEN:
                raise RuntimeError(f"{method.upper()} {path} says no scope: give it an …Actor of control_api.http.auth")


def _calls(dependant: Dependant | None) -> Iterator[Any]:
    for below in dependant.dependencies if dependant is not None else ():
        yield below.call
        yield from _calls(below)
