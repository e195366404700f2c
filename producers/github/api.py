"""The REST API of GitHub, and of Gitea and Forgejo: conditional GET requests, limited in time and size, and what failures mean.

What is asked for is `producers.github.github`'s. Built on gidgethub without its cache, which keeps whole answers, and its
rate limits, which raise on malformed headers.

    status                            error
    401                               Permanent unauthorized, with GitHub's words ("Bad credentials")
    403, 451                          Permanent forbidden
    403 or 429 of a rate limit        Retryable rate_limited with the time until which nothing is asked
    404, 410                          Permanent not_found
    409, 5xx, not JSON                Retryable server_error
    3xx to another server             Permanent invalid_content: a token is sent only to the server it was written for
    no answer in time                 Retryable timeout
    cut off, refused, not resolved    Retryable connection
"""

from collections.abc import Callable, Mapping
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
from notifier.one_line import one_line
from notifier.outside import Proxied, open_session, proxy_of, unreachable
from notifier.record import now, rfc3339

BASE_URL = "https://api.github.com"
GITEA_PATH = "/api/v1"  # with which the base URLs of Gitea and Forgejo end; those of GitHub Enterprise end with /api/v3
API_VERSION = "2022-11-28"  # https://docs.github.com/en/rest/about-the-rest-api/api-versions
MAX_BODY_BYTES = 32 * 1024 * 1024  # of one answer; 100 pull requests with descriptions of 65,536 characters fit
TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5, sock_read=15)  # seconds, of one request
_MAX_REDIRECTS = 3  # a renamed repository answers 301
_REDIRECTS = (301, 302, 303, 307, 308)
# "wait for at least one minute before retrying", where a secondary limit does not say how long:
# https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
_LIMITED_S = 60.0
_MAX_LIMITED = timedelta(hours=24)  # longer than any of GitHub's limits; a later time is a mistake
_SHOWN_CHARACTERS = 200  # of what GitHub says


class RateLimits:
    """When GitHub may be asked again. Kept as long as the producer, since requests during a rate limit get a token banned."""

    def __init__(self) -> None:
        self.service = "GitHub"
        self._until: datetime | None = None

    def check(self) -> None:
        """Raises Retryable `rate_limited` while a rate limit holds."""
        if self._until is not None and (wait := (self._until - now()).total_seconds()) > 0:
            raise Retryable("rate_limited", self._text(), wait)

    def learn(self, status: int, headers: Mapping[str, str], message: str) -> Retryable | None:
        """Reads the rate limit out of an answer; returns the error when the answer refuses because of it."""
        used_up = headers.get("x-ratelimit-remaining", "").strip() == "0"
        limited = status == 429 or (
            # 403 means "not allowed" as well as "not now"; of a secondary limit without headers only the words tell.
            status == 403 and (used_up or "retry-after" in headers or "rate limit" in message.lower())
        )
        if limited:
            self._until = _again_at(headers, used_up)
            wait = (self._until - now()).total_seconds()
            return Retryable("rate_limited", self._text(message), max(wait, 0.0))
        if used_up and status < 400:  # the last answer before the reset
            self._until = _again_at(headers, used_up)
        return None

    def _text(self, message: str = "") -> str:
        assert self._until is not None
        said = f": {message}" if message else ""
        return f"{self.service}'s rate limit is used up, and it may be asked again at {rfc3339(self._until)}{said}"


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
    """The time of a `Retry-After`: seconds from `at`, or a date (RFC 9110). None where it is neither."""
    try:
        return at + timedelta(seconds=int(retry_after) + 1)  # the part of a second that `_again_at` cuts off
    except (ValueError, OverflowError):
        pass
    try:
        found = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer of status 200 or 304."""

    data: Any = None  # the JSON; none: unchanged
    unchanged: bool = False  # since the `etag` of the request
    etag: str | None = None
    more: bool = False  # whether it links to a next page


def is_gitea(base_url: str) -> bool:
    """Whether a base URL is of Gitea or Forgejo."""
    return base_url.rstrip("/").endswith(GITEA_PATH)


class GitHubClient(GitHubAPI):
    """Sends requests within `async with`. `subject` names in errors what is asked for: "the repository owner/name"."""

    def __init__(
        self,
        *,
        base_url: str,
        token: str | None,
        limits: RateLimits,
        subject: str,
        timeout: aiohttp.ClientTimeout | None = None,  # of one request; by default TIMEOUT
        proxied: Callable[..., aiohttp.ClientSession] | None = None,  # opens a session by a proxy of its own
    ) -> None:
        super().__init__("notifier", oauth_token=token, base_url=base_url)
        self.is_gitea = is_gitea(base_url)
        self.subject = subject
        self._service = limits.service = "Gitea" if self.is_gitea else "GitHub"
        self._limits = limits
        self._timeout = timeout or TIMEOUT
        self._proxied = proxied
        self._session: aiohttp.ClientSession | None = None
        self.redirected = False  # whether a redirect was followed: the repository was renamed or moved
        self._status = 0  # of the latest answer
        self._headers: Mapping[str, str] = {}

    async def __aenter__(self) -> "GitHubClient":
        self._session = (self._proxied or open_session)(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, etag: str | None = None) -> Answer:
        """The answer at `path`, relative to the base URL. Raises Permanent and Retryable as the table at the top says."""
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
            raise Retryable("timeout", f"{self._service} did not answer in time for {self.subject}") from None
        except aiohttp.ClientError as error:
            raise Retryable(
                "connection", f"{self._service} cannot be reached: {self._clean(unreachable(error))}"
            ) from None
        except (ValueError, LookupError, TypeError, RecursionError):  # raised by gidgethub where the body is not JSON
            raise self._failure("") from None
        self._limits.learn(self._status, self._headers, "")
        return Answer(data=data, etag=self._headers.get("etag"), more=self._more())

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        assert self._session is not None, "use it within `async with`"
        for _ in range(_MAX_REDIRECTS + 1):
            proxy = Proxied() if self._proxied else proxy_of(url)
            async with self._session.request(
                method, url, headers=headers, data=body or None, allow_redirects=False, **proxy
            ) as response:
                if response.status in _REDIRECTS and "location" in response.headers:
                    target = urljoin(url, response.headers["location"])
                    if _origin(target) != _origin(url):
                        raise Permanent(
                            "invalid_content",
                            f"{self._service} sends requests for {self.subject} on to another server, which is not followed;"
                            " write the address that answers itself, as `base_url` or NOTIFIER_GITHUB_API",
                        )
                    url, self.redirected = target, True
                    continue
                self._status, self._headers = response.status, response.headers
                content = await self._read(response)
                # Only the header that gidgethub needs: it raises on malformed rate limits.
                return response.status, {"content-type": response.headers.get("content-type", "")}, content
        raise Permanent("invalid_content", f"{self._service} redirects requests for {self.subject} in circles")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(65_536):  # decompressed, so that a zip bomb is counted too
            content += chunk
            if len(content) > MAX_BODY_BYTES:
                raise Permanent(
                    "invalid_content",
                    f"{self._service}'s answer for {self.subject} has more than {MAX_BODY_BYTES} bytes",
                )
        return bytes(content)

    async def sleep(self, seconds: float) -> None:
        """Not used: a run during a rate limit fails with the time of its end."""
        raise NotImplementedError

    def _more(self) -> bool:
        return 'rel="next"' in self._headers.get("link", "")

    def _failure(self, message: str) -> DeliveryError:
        status, message = self._status, self._clean(message)
        limited = self._limits.learn(status, self._headers, message)
        if limited is not None:
            return limited
        said = f"{self._service} answered {status}" + (f": {message}" if message else "")
        match status:
            case 401:
                return Permanent("unauthorized", f"{said}; write a `token` that is valid")
            case 403 | 451:
                return Permanent("forbidden", f"{said}; the `token` may not read {self.subject}")
            case 404 | 410:
                return Permanent(
                    "not_found", f"{said}; there is no such thing as {self.subject}, or the `token` may not see it"
                )
            case _ if status == 409 or status >= 500:
                return Retryable("server_error", f"{said}; it is asked again with the next run")
            case _ if status >= 300:
                return Permanent("invalid_content", said)
            case _:
                return Retryable("server_error", f"{self._service}'s answer for {self.subject} is cut off or not JSON")

    def _clean(self, what: object) -> str:
        """One bounded line without the token, of GitHub's words or an error's."""
        text = str(what)
        if self.oauth_token:
            text = text.replace(self.oauth_token, "***")
        return one_line(text, _SHOWN_CHARACTERS)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)
