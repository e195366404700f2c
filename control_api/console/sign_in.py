"""`/console/login` and `/console/logout`: open and close the session of a browser."""

import logging
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ConfigDict, SecretStr, ValidationError

from control_api.access.accounts import Account, verify
from control_api.access.sessions import COOKIE, close_session, find_account, open_session
from control_api.access.sign_in_limit import address_key
from control_api.console.pages import page
from control_api.console.view import reading
from control_api.http.auth import SIGN_IN, Ticket
from control_api.http.body import parse_json, read_body
from control_api.http.media_type import JSON
from control_api.http.origin import check_origin, is_https
from control_api.http.page import json_response
from control_api.http.problems import Problem, unauthorized
from control_api.parts import PartsDep
from notifier.absent import Written
from notifier.errors import FieldError, InputError
from notifier.validation import field_errors

logger = logging.getLogger(__name__)

HOME = "/console"
_FORM = "application/x-www-form-urlencoded"

router = APIRouter(include_in_schema=False)


class Credentials(Written):
    """The fields of the form, or of the JSON body."""

    model_config = ConfigDict(extra="forbid")

    name: str
    password: SecretStr
    next: str = HOME  # the page to go to after signing in


def local(path: str) -> str:
    """The path if it stays at this address, else the console: a link to the sign-in page is no open redirect."""
    try:
        parts = urlsplit(path)
    except ValueError:
        return HOME
    # Browsers read a backslash as a slash and drop tabs and line ends: `/\host` would be another address.
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    if not plain or parts.scheme or parts.netloc or not path.isascii() or parts.path.startswith((SIGN_IN, "//")):
        return HOME
    return path


@router.get(SIGN_IN)
async def form(request: Request, parts: PartsDep, ticket: Ticket) -> Response:
    """The form. A browser that is signed in already is redirected."""
    where = local(request.query_params.get("next", HOME))
    if request.headers.get("sec-fetch-site") == "cross-site":
        # After a link from another site, browsers do not send a `SameSite=Strict` cookie. A page of ours that loads the same
        # address once more gets it.
        return page("arrived.html", where=where, **reading(request))
    if ticket is not None and await find_account(parts.database, ticket) is not None:
        return RedirectResponse(where, 303)
    return page("login.html", next=where, name="", error="", **reading(request))


@router.post(SIGN_IN)
async def sign_in(request: Request, parts: PartsDep, ticket: Ticket) -> Response:
    """Opens a session and sets its cookie. A form is answered with pages, JSON with JSON."""
    media_type, body = await read_body(request, _FORM, JSON)
    if media_type == _FORM or "origin" in request.headers or "sec-fetch-site" in request.headers:
        check_origin(request)  # JSON without these headers comes from no browser, so it is no cross-site request
    given = _read(media_type, body)
    try:
        account, opened = await _open(request, parts, given)
    except Problem as refused:
        if media_type == JSON:
            raise
        again = {"next": local(given.next), "name": given.name, "error": refused.args[0]}
        return page("login.html", status=refused.status, headers=refused.headers, **reading(request), **again)
    if ticket is not None:
        await close_session(parts.database, ticket)
    answer: Response
    if media_type == JSON:
        answer = json_response({"name": account.name, "role": account.role})
    else:
        answer = RedirectResponse(local(given.next), 303)
    answer.set_cookie(COOKIE, opened, path="/", httponly=True, samesite="strict", secure=is_https(request))
    return answer


@router.post("/console/logout")
async def sign_out(request: Request, parts: PartsDep, ticket: Ticket) -> Response:
    """Ends the session, for every copy of its cookie."""
    check_origin(request)
    if ticket is not None:
        await close_session(parts.database, ticket)
    answer = RedirectResponse(SIGN_IN, 303, headers={"Clear-Site-Data": '"storage"'})  # of GraphiQL
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=is_https(request))
    return answer


def _read(media_type: str, body: bytes) -> Credentials:
    if media_type == JSON:
        value = parse_json(body)
    else:
        try:
            value = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=10))
        except ValueError:
            raise Problem(400, "the body is not a form") from None
    if not isinstance(value, dict):
        raise InputError(FieldError("", 'must be a JSON object: {"name": "…", "password": "…"}'))
    try:
        return Credentials.model_validate(value)
    except ValidationError as error:
        raise InputError(field_errors(error, value)) from None


async def _open(request: Request, parts: PartsDep, given: Credentials) -> tuple[Account, str]:
    """The account and its new cookie. Raises Problem 401, also for an unknown name, and 429."""
    host = request.client.host if request.client is not None else None
    wait = parts.sign_in_limit.take(address_key(host), f"name {given.name.casefold()[:200]}")
    if wait:
        raise Problem(
            429, f"too many tries to sign in: try again in {wait} seconds", headers={"Retry-After": str(wait)}
        )
    account = await verify(parts.database, given.name, given.password.get_secret_value())
    opened = await open_session(parts.database, account) if account is not None else None
    if account is None or opened is None:
        # The name is left out: people type their password into the wrong field.
        logger.warning("Somebody was not signed in.", extra={"action": "sign_in", "host": host})
        parts.failed_sign_ins.note(given.name, host)
        raise unauthorized(
            "the name or the password is wrong; who runs Notifier sets a new one: notifier account password NAME"
        )
    return account, opened
