"""Who may call what. One place decides, and what it was not asked about does not start.

A route says its scope by one of the `…Actor` types below in its signature; `check_guarded` refuses an app that has a route
without one, save for the few addresses that are open on purpose.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from control_api.actor import Actor
from control_api.parts import PartsDep
from control_api.problems import Problem, unauthorized
from control_api.tokens import authenticate

OPEN = frozenset({"/health/live", "/health/ready"})  # to anyone

_bearer = HTTPBearer(
    scheme_name="token",
    auto_error=False,
    description="A token of `notifier token create` or `POST /api/v1/tokens`. Each operation names the scope that it needs.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def identify(parts: PartsDep, credentials: Credentials) -> Actor:
    """Who asks, whatever they may do. Raises Problem 401.

    The token is looked up for every request, so that one that is revoked is refused at once.
    """
    if credentials is None:
        raise unauthorized("this needs a token: Authorization: Bearer ntf_… (see `notifier token create`)")
    token = await authenticate(parts.database, credentials.credentials)
    if token is None:
        problem = unauthorized("the token is unknown, expired or revoked; see `notifier token list`")
        problem.headers["WWW-Authenticate"] += ', error="invalid_token"'
        raise problem
    return token.actor


async def authorize(scopes: SecurityScopes, actor: Annotated[Actor, Depends(identify)]) -> Actor:
    """Who asks, if that is somebody who may. Raises Problem 401 and 403."""
    for scope in scopes.scopes:
        if not actor.may(scope):  # type: ignore[arg-type]  # the scopes of routes are ours, see below
            raise Problem(
                403,
                f"this needs the scope {scope!r}, and the token has {', '.join(sorted(actor.scopes))}",
                headers={"WWW-Authenticate": f'Bearer realm="notifier", error="insufficient_scope", scope="{scope}"'},
            )
    if not scopes.scopes:  # a route that forgot to say it; `check_guarded` finds it before that
        raise Problem(403, "this address is open to nobody")
    return actor


AnyActor = Annotated[Actor, Depends(identify)]  # GraphQL alone: there each field says its scope
ReadActor = Annotated[Actor, Security(authorize, scopes=["read"])]
WriteActor = Annotated[Actor, Security(authorize, scopes=["write"])]
RunActor = Annotated[Actor, Security(authorize, scopes=["run"])]
PushActor = Annotated[Actor, Security(authorize, scopes=["push"])]
AdminActor = Annotated[Actor, Security(authorize, scopes=["admin"])]


def check_guarded(app: FastAPI) -> None:
    """Raises RuntimeError when an operation of the app needs no scope and is not open on purpose."""
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            scopes = [scope for way in operation.get("security", []) for scope in way.get("token", [])]
            if not scopes and path not in OPEN:
                raise RuntimeError(f"{method.upper()} {path} says no scope: give it an …Actor of control_api.auth")
