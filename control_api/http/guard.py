"""Guard: the outermost middleware, plain ASGI. Limits, security headers, request ids, and errors that nothing else handles.

A body is counted while it is read and refused beyond its limit. A request that takes too long is ended. Each answer carries
the security headers, and an id that its log lines and `X-Request-Id` have. An unforeseen error is logged once and answered
as a problem. Authorization is `control_api.http.auth`'s.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from secrets import token_hex

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_api.http.headers import header
from control_api.http.held import Held, Share
from control_api.http.limits import body_limit
from control_api.http.problems import Problem, problem_of, unavailable

logger = logging.getLogger(__name__)

REQUEST_LIMIT_S = 30.0
MAX_REQUESTS = 500  # at work at the same time
_SLOW_S = 1.0  # after which a body that is not all here makes room for other requests, where there is none
# A caller that is still sending does not read our answer, and closing the connection would throw it away. So the rest of a
# body that is too large is read and dropped, up to these limits.
_DRAIN_BYTES = 32 * 1024 * 1024
_DRAIN_S = 3.0

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


_DEFAULTS = [
    (name.lower().encode(), value.encode()) for name, value in {**SECURITY_HEADERS, "Cache-Control": "no-store"}.items()
]
_ID_HEADER = b"x-request-id"


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    raise unavailable("too many requests are at work at this moment: try again", 1)


class _TooLarge(Exception):
    pass


class Load:
    """The requests at work, of one guard or of several together."""

    def __init__(self) -> None:
        self.held = Held()
        self.at_work = 0
        self.arriving: dict[_Request, float] = {}  # those whose body is not all here → when they began, in that order

    def has_room(self) -> bool:
        """Whether another may come. Ends the request whose body takes longest to come, where that makes room."""
        return self.at_work < MAX_REQUESTS or self._give_up_slowest()

    def _give_up_slowest(self) -> bool:
        """False where none takes long."""
        slowest = next(iter(self.arriving), None)
        if slowest is None or time.monotonic() - self.arriving[slowest] < _SLOW_S:
            return False
        del self.arriving[slowest]
        slowest.give_up()
        return True


class Guard:
    """The middleware. `limit_s`: how long a request may take, in seconds."""

    def __init__(self, app: ASGIApp, limit_s: float = REQUEST_LIMIT_S, load: Load | None = None) -> None:
        self._app = app
        self._limit_s = limit_s
        self._load = load or Load()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        load = self._load
        given = header(scope, b"x-request-id")
        id_ = given if given is not None and _ID.fullmatch(given) else token_hex(16)
        app = self._app if load.has_room() or scope["path"].startswith("/health/") else _too_many
        load.at_work += 1
        share = Share(load.held)
        share.put_into(scope)
        request = _Request(app, scope, receive, send, id_, share)
        request.arrived = lambda: load.arriving.pop(request, None)
        load.arriving[request] = time.monotonic()
        try:
            await request.run(self._limit_s)
        finally:
            load.at_work -= 1
            load.arriving.pop(request, None)
            share.release()


class _Request:
    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, id_: str, share: Share) -> None:
        self._app, self._scope, self._id, self._share = app, scope, id_, share
        self._receive_from, self._send_to = receive, send
        self._limit = body_limit(scope["path"])
        self._read = 0
        self._whole = False  # whether all of the body was read
        self._started = False  # whether an answer has begun
        self._status = 0
        self._limit_at: asyncio.Timeout | None = None
        self.arrived: Callable[[], object] = lambda: None  # called once all of the body is here

    def give_up(self) -> None:
        """Ends it as one that took too long."""
        if self._limit_at is not None:
            self._limit_at.reschedule(0.0)

    async def run(self, limit_s: float) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit_s) as self._limit_at:
                try:
                    declared = header(self._scope, b"content-length") or ""
                    self._whole = header(self._scope, b"transfer-encoding") is None and declared in ("", "0")
                    if self._whole:
                        self.arrived()
                    if declared.isdecimal() and len(declared) < 20 and int(declared) > self._limit:
                        raise _TooLarge
                    if "\0" in self._scope["path"] or b"%00" in self._scope["query_string"]:
                        raise Problem(400, "an address must not hold NUL")  # PostgreSQL would stumble over it
                    await self._app(self._scope, self._receive, self._send)
                except Problem as refused:
                    await self._answer(refused)
                except _TooLarge:
                    await self._drain()
                    await self._answer(Problem(413, f"a request to this address may have {self._limit} bytes at most"))
                finally:
                    self._limit_at = None
        except TimeoutError:
            if self._whole:
                await self._answer(unavailable(f"this took longer than {limit_s:g} s and was given up"))
            else:
                seconds = time.monotonic() - began
                await self._answer(Problem(408, f"the request was not all here within {seconds:.0f} s"))
        except ClientDisconnect:
            pass  # nobody is left to be answered
        except Exception as error:  # the supervisor of a request: one that fails must not take the process along
            logger.exception("A request failed.", extra={"action": "answer", **self._extra()})
            if self._started:
                raise  # half an answer is out; the server closes the connection
            await self._answer(problem_of(error))
        finally:
            if logger.isEnabledFor(logging.DEBUG):
                seconds = round(time.monotonic() - began, 4)
                logger.debug(
                    "Answered.", extra={"action": "answer", "status": self._status, "seconds": seconds, **self._extra()}
                )

    def _extra(self) -> dict[str, str]:
        return {"method": self._scope["method"], "path": self._scope["path"], "request_id": self._id}

    async def _receive(self) -> Message:
        message = await self._receive_from()
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._read += size
            if self._read > self._limit:
                raise _TooLarge
            self._share.hold(size)
            self._whole = not message.get("more_body", False)
            if self._whole:
                self.arrived()
        return message

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                while self._read < _DRAIN_BYTES and not self._whole:
                    message = await self._receive_from()
                    if message["type"] != "http.request":
                        return
                    self._read += len(message.get("body", b""))
                    self._whole = not message.get("more_body", False)
        except TimeoutError:
            pass  # it sends too slowly to hear our answer

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started, self._status = True, message["status"]
            given: list[tuple[bytes, bytes]] = message["headers"]
            names = {name for name, _ in given}
            message["headers"] = [
                *(one for one in given if one[0] != _ID_HEADER),
                *(one for one in _DEFAULTS if one[0] not in names),
                (_ID_HEADER, self._id.encode()),
            ]
        await self._send_to(message)

    async def _answer(self, problem: Problem) -> None:
        if not self._started:
            await problem.response()(self._scope, self._receive_from, self._send)
