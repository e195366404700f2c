"""GitHub's REST API as the producer needs it: one GET at a time, conditional, bounded, and every failure one of our errors.

What is read and what is made of it is `producers.github.github`'s. Built on gidgethub, whose own cache and rate limits are not
used: the cache would keep whole answers, and headers that are no numbers raise there.

    status                            error
    401                               Permanent unauthorized, with GitHub's words ("Bad credentials")
    403, 451                          Permanent forbidden
    403 or 429 of a rate limit        Retryable rate_limited, which says when; nothing is asked until then
    404, 410                          Permanent not_found
    409, 5xx, and no JSON             Retryable server_error
    3xx to another server             Permanent invalid_content: a token goes to the server it was written for only
    no answer in time                 Retryable timeout
    cut off, refused, not resolved    Retryable connection
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from gidgethub import HTTPException
from gidgethub.abc import GitHubAPI

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.record import now, rfc3339

BASE_URL = "https://api.github.com"
API_VERSION = "2022-11-28"  # https://docs.github.com/en/rest/about-the-rest-api/api-versions
MAX_BODY_BYTES = 32 * 1024 * 1024  # of one answer: 100 pull requests with descriptions of 65,536 characters, and more
TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5, sock_read=15)  # seconds, of one request
_MAX_REDIRECTS = 3  # a renamed repository answers 301
_REDIRECTS = (301, 302, 303, 307, 308)
# "wait for at least one minute before retrying", where a secondary limit does not say how long:
# https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
_LIMITED_S = 60.0
_MAX_LIMITED = timedelta(hours=24)  # longer than any limit of theirs; what is beyond is a mistake
_SHOWN_CHARACTERS = 200  # of what GitHub says


class Limits:
    """When GitHub may be asked again. Lives as long as the producer, since asking on while limited gets a token banned."""

    def __init__(self) -> None:
        self._until: datetime | None = None

    def check(self) -> None:
        """Raises Retryable `rate_limited` while nothing may be asked."""
        if self._until is not None and (wait := (self._until - now()).total_seconds()) > 0:
            raise Retryable("rate_limited", self._text(), wait)

    def learn(self, status: int, headers: Mapping[str, str], message: str) -> Retryable | None:
        """Takes note of an answer; the error, where it is that of a rate limit."""
        used_up = headers.get("x-ratelimit-remaining", "").strip() == "0"
        limited = status == 429 or (
            # A 403 is both "you may not" and "not now"; only the words tell a secondary limit without headers apart.
            status == 403 and (used_up or "retry-after" in headers or "rate limit" in message.lower())
        )
        if limited:
            self._until = _again_at(headers, used_up)
            wait = (self._until - now()).total_seconds()
            return Retryable("rate_limited", self._text(message), max(wait, 0.0))
        if used_up and status < 400:  # this answer was the last one for now
            self._until = _again_at(headers, used_up)
        return None

    def _text(self, message: str = "") -> str:
        assert self._until is not None
        said = f": {message}" if message else ""
        return f"GitHub's rate limit is used up, and it may be asked again at {rfc3339(self._until)}{said}"


def _again_at(headers: Mapping[str, str], used_up: bool) -> datetime:
    at = now()
    again = _moment(headers.get("retry-after", ""), at)
    if again is None and used_up:
        try:
            again = datetime.fromtimestamp(int(headers.get("x-ratelimit-reset", "")), UTC) + timedelta(seconds=1)
        except (ValueError, OverflowError, OSError):
            again = None
    again = again or at + timedelta(seconds=_LIMITED_S)
    return min(max(again, at), at + _MAX_LIMITED).replace(microsecond=0)


def _moment(retry_after: str, at: datetime) -> datetime | None:
    """RFC 9110: a number of seconds, or a date."""
    try:
        return at + timedelta(seconds=int(retry_after))
    except (ValueError, OverflowError):
        pass
    try:
        found = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What GitHub answered."""

    data: Any = None
    unchanged: bool = False  # since the `etag` that was asked with; then there is no data
    etag: str | None = None
    more: bool = False  # whether it says that there is a next page


class GitHubClient(GitHubAPI):
    """Asks GitHub, within `async with`. `subject` is what is asked for, in words, for the errors: "the repository owner/name"."""

    def __init__(
        self,
        *,
        base_url: str,
        token: str | None,
        limits: Limits,
        subject: str,
        timeout: aiohttp.ClientTimeout | None = None,  # of one request; by default TIMEOUT
    ) -> None:
        super().__init__("notifier", oauth_token=token, base_url=base_url)
        self._limits = limits
        self._subject = subject
        self._timeout = timeout or TIMEOUT
        self._session: aiohttp.ClientSession | None = None
        self._status = 0  # of the newest answer
        self._headers: Mapping[str, str] = {}

    async def __aenter__(self) -> "GitHubClient":
        self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, etag: str | None = None) -> Answer:
        """The answer at `path`, which is relative to the base URL. Raises Permanent and Retryable, see above."""
        self._limits.check()
        self._status, self._headers = 0, {}
        headers = {"X-GitHub-Api-Version": API_VERSION}
        if etag is not None:
            headers["If-None-Match"] = etag
        try:
            data = await self.getitem(path, extra_headers=headers)
        except HTTPException as error:
            if self._status == 304 and etag is not None:
                self._limits.learn(304, self._headers, "")
                return Answer(unchanged=True, etag=etag, more=self._more())
            raise self._failure(str(error)) from None
        except TimeoutError:
            raise Retryable("timeout", f"GitHub did not answer in time for {self._subject}") from None
        except aiohttp.ClientError as error:
            raise Retryable("connection", f"GitHub cannot be reached: {self._clean(error)}") from None
        except (ValueError, LookupError, TypeError, RecursionError):  # what gidgethub raises for what is not JSON
            raise self._failure("") from None
        self._limits.learn(self._status, self._headers, "")
        return Answer(data=data, etag=self._headers.get("etag"), more=self._more())

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        assert self._session is not None, "use it within `async with`"
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._session.request(
                method, url, headers=headers, data=body or None, allow_redirects=False
            ) as response:
                if response.status in _REDIRECTS and "location" in response.headers:
                    target = urljoin(url, response.headers["location"])
                    if _origin(target) != _origin(url):
                        raise Permanent(
                            "invalid_content",
                            f"GitHub sends requests for {self._subject} on to another server, which is not followed;"
                            " write NOTIFIER_GITHUB_API as the address that answers itself",
                        )
                    url = target
                    continue
                self._status, self._headers = response.status, response.headers
                content = await self._read(response)
                # Only what gidgethub needs: it stumbles over rate limits that are no numbers.
                return response.status, {"content-type": response.headers.get("content-type", "")}, content
        raise Permanent("invalid_content", f"GitHub redirects requests for {self._subject} in circles")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(65_536):  # unpacked already, so a packed bomb is counted too
            content += chunk
            if len(content) > MAX_BODY_BYTES:
                raise Permanent(
                    "invalid_content", f"GitHub's answer for {self._subject} has more than {MAX_BODY_BYTES} bytes"
                )
        return bytes(content)

    async def sleep(self, seconds: float) -> None:
        """Nothing here waits: a run that may not ask now fails and says when."""
        raise NotImplementedError

    def _more(self) -> bool:
        return 'rel="next"' in self._headers.get("link", "")

    def _failure(self, message: str) -> DeliveryError:
        status, message = self._status, self._clean(message)
        limited = self._limits.learn(status, self._headers, message)
        if limited is not None:
            return limited
        said = f"GitHub answered {status}" + (f": {message}" if message else "")
        match status:
            case 401:
                return Permanent("unauthorized", f"{said}; write a `token` that is valid")
            case 403 | 451:
                return Permanent("forbidden", f"{said}; the `token` may not read {self._subject}")
            case 404 | 410:
                return Permanent(
                    "not_found", f"{said}; there is no such thing as {self._subject}, or the `token` may not see it"
                )
            case _ if status == 409 or status >= 500:
                return Retryable("server_error", f"{said}; it is asked again with the next run")
            case _ if status >= 300:
                return Permanent("invalid_content", said)
            case _:
                return Retryable("server_error", f"GitHub's answer for {self._subject} is cut off or not JSON")

    def _clean(self, what: object) -> str:
        """Words of others: one line, bounded, and never with our token."""
        text = " ".join(str(what).split())
        if self.oauth_token:
            text = text.replace(self.oauth_token, "***")
        return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)
