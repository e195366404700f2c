"""Idempotency keys: a POST that is repeated under the same key is done once and answered the same. Answers are kept here.

first time                  the key is noted, the work done, the answer kept for a day, sealed
again, same request         the kept answer, with `Idempotency-Replayed: true`
again, another request      422
again, while at work        409, Retry-After
again, after a 503          done anew, with the first time's `control_api.intake.occasion`: ids of messages and the
                            time of a tick are the same, so an effect that had come about after all is recognised
again, after another error  done anew: nothing had happened
"""

import logging
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from fastapi import Request, Response
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from control_api.access.actor import Actor
from control_api.http.headers import header
from control_api.http.problems import Problem, problem_of
from control_api.intake.occasion import Occasion
from control_api.models import IdempotencyRow
from control_api.parts import Parts
from control_api.retention import IDEMPOTENCY_KEPT
from notifier.errors import DatabaseError
from notifier.record import now, rfc3339

logger = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
HEADER_NAME = HEADER.lower().encode()
_AT_WORK = timedelta(seconds=60)  # longer than any request may take: a claim this old is a dead process's
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_AGAIN = 503  # kept as status: to be done anew
_HEADERS = ("location", "etag", "content-type")

PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same request under the same key within a day is done once and answered the same.",
}


async def once(
    parts: Parts, request: Request, actor: Actor, body: bytes, act: Callable[[Occasion], Awaitable[Response]]
) -> Response:
    """Does `act`, or answers as it did before. Raises Problem 400, 409 and 422, and what `act` raises."""
    key = header(request.scope, HEADER_NAME)
    if key is None:
        return await act(Occasion(now()))
    if not _KEY.fullmatch(key):
        raise Problem(400, f"{HEADER} must be 1 to 255 visible ASCII characters")
    who = actor.name
    kept = await _begin(parts, who, key, _marks(parts, request, body))
    if isinstance(kept, Response):
        return kept
    try:
        response = await act(Occasion(kept, f"{who}/{key}"))
    except BaseException as error:
        # A request that was cut off may have had its effect, like one that ended in 503.
        again = not isinstance(error, Exception) or problem_of(error).status >= 500
        await _let_go(parts, who, key, keep=again)
        raise
    try:
        await _keep(parts, who, key, response)
    except DatabaseError as error:
        # It is done, and the caller is told so; a repeat within a minute is told to wait, one after that is done anew.
        logger.warning("The answer under an Idempotency-Key is not kept: %s", error, extra={"action": "keep_answer"})
    return response


def _marks(parts: Parts, request: Request, body: bytes) -> tuple[str, ...]:
    # Keyed: a body may hold a password, which a bare SHA-256 in the database would let be guessed at speed.
    what = "\0".join((request.method, request.url.path, request.url.query, request.headers.get("content-type", "")))
    return parts.seal.marks(what.encode() + b"\0" + body)


async def _begin(parts: Parts, who: str, key: str, marks: tuple[str, ...]) -> datetime | Response:
    """The moment of the first time, or the kept answer. Raises Problem 409 and 422. The first of the marks is stored."""
    at = now()
    claim = {"claimed_at": rfc3339(at)}
    try:
        async with parts.database.write() as session:
            row = await session.get(IdempotencyRow, (who, key), with_for_update=True)
            if row is not None and at - row.at > IDEMPOTENCY_KEPT:
                await session.delete(row)
                await session.flush()
                row = None
            if row is None:
                session.add(
                    IdempotencyRow(
                        actor=who, key=key, request_hash=marks[0], status=None, headers=claim, body=None, at=at
                    )
                )
                return at
            if row.request_hash not in marks:
                raise Problem(422, f"this {HEADER} was used for another request within the last day; use a new one")
            row.request_hash = marks[0]
            if row.status is None:
                claimed = datetime.fromisoformat((row.headers or {})["claimed_at"])
                if at - claimed < _AT_WORK:
                    raise _busy()
            elif row.status != _AGAIN:
                headers = dict(row.headers or {})
                content = parts.seal.open(row.body, IdempotencyRow.place(who, key)).encode() if row.body else b""
                return Response(content, row.status, headers={**headers, "Idempotency-Replayed": "true"})
            row.status, row.headers = None, claim
            return row.at
    except IntegrityError:
        raise _busy() from None  # the same key came twice at the same moment, and the other request was quicker


def _busy() -> Problem:
    return Problem(409, f"a request with this {HEADER} is being worked on; ask again", headers={"Retry-After": "1"})


async def _keep(parts: Parts, who: str, key: str, response: Response) -> None:
    # Sealed: the answer may be a new token.
    body = parts.seal.close(bytes(response.body).decode(), IdempotencyRow.place(who, key)) if response.body else None
    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    async with parts.database.write() as session:
        await session.execute(
            update(IdempotencyRow)
            .where(IdempotencyRow.actor == who, IdempotencyRow.key == key)
            .values(status=response.status_code, headers=headers, body=body)
        )


async def _let_go(parts: Parts, who: str, key: str, *, keep: bool) -> None:
    mine = (IdempotencyRow.actor == who, IdempotencyRow.key == key)
    try:
        async with parts.database.write() as session:
            if keep:
                await session.execute(update(IdempotencyRow).where(*mine).values(status=_AGAIN, headers=None))
            else:
                await session.execute(delete(IdempotencyRow).where(*mine))
    except DatabaseError as error:
        logger.warning("An Idempotency-Key stays taken for a minute: %s", error, extra={"action": "release_key"})
