"""Exchange: requests to the API of a messenger and their answers, with limits on time and size. What answers mean is left out.

For consumers that need no library of their service. Redirects are not followed, since requests hold a token.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from notifier import Context, Permanent, Result, Retryable
from notifier.errors import DeliveryError
from notifier.one_line import one_line
from notifier.outcome import Outcome, Reason
from notifier.outside import open_session, proxy_of, unreachable
from notifier.plain_text import plain_text
from notifier.record import now
from notifier.retry_after import retry_after_s

REQUEST_S = 15.0  # that an answer is waited for
CONNECT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
_SHOWN = 300  # characters of what a service says
_REFUSED: Mapping[int, Reason] = {
    402: "forbidden",
    403: "forbidden",
    405: "not_found",
    410: "not_found",
    451: "forbidden",
}
_PASSES = frozenset({408, 409, 425})  # 4xx that another try may not meet


class Failed(Exception):
    """The request failed. Holds the Result of every delivery that was in it."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.detail)
        self.result = result

    def error(self) -> DeliveryError:
        """The failure as a check raises it."""
        reason, detail = self.result.reason, self.result.detail or ""
        if self.result.outcome == "refused":
            return Permanent(reason, detail)
        return Retryable(reason, detail, self.result.retry_after_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to a request."""

    status: int
    content: bytes = b""  # empty where an answer that refuses broke off
    retry_after_s: float | None = None  # seconds that the header Retry-After asks for


class Exchange:
    """The way to one service, with connections that are kept until `close`."""

    def __init__(
        self, service: str, session: aiohttp.ClientSession, base_url: str, *, of_environment: bool = False
    ) -> None:
        """`service`: what people call it. `of_environment`: requests go by the proxies of the environment, not the session's."""
        self.service = service
        self.base_url = base_url
        self._session = session
        self._of_environment = of_environment

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def ask(self, method: str, path: str, *, unsure: bool = True, **options: Any) -> Answer:
        """One request. `unsure`: it sends, so that without an answer nobody knows whether it did. `options` are aiohttp's.

        Raises Failed: `connection` where nothing was sent, else `unknown` where it is `unsure`.
        """
        service, url = self.service, self.base_url + path
        status, wait_s = 0, None
        try:
            async with self._session.request(
                method,
                url,
                timeout=aiohttp.ClientTimeout(total=REQUEST_S, connect=CONNECT_S, sock_connect=CONNECT_S),
                allow_redirects=False,
                **(proxy_of(url) if self._of_environment else {}),
                **options,
            ) as answer:
                status, wait_s = answer.status, retry_after_s(answer.headers.get("Retry-After"), now())
                return Answer(status=status, content=await _read(answer), retry_after_s=wait_s)
        except DeliveryError as error:  # of `notifier.network` and of `proxy_of`
            outcome: Outcome = "refused" if isinstance(error, Permanent) else "deferred"
            raise failed(outcome, error.reason, f"{service} cannot be reached: {error}") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise failed("deferred", "connection", f"{service} cannot be reached: {unreachable(error)}") from None
        except TimeoutError:
            said = _unanswered(status, unsure, "timeout", f"{service} did not answer within {REQUEST_S:g} s")
        except (aiohttp.ClientError, _TooLarge) as error:
            reason: Reason = "server_error" if status else "connection"
            said = _unanswered(status, unsure, reason, f"{service}'s answer broke off ({unreachable(error)})")
        if said is not None:
            raise said
        return Answer(status=status, retry_after_s=wait_s)


def open_exchange(service: str, context: Context, base_url: str, proxy: str | None) -> Exchange:
    """The way to a service. `base_url` is the setting's, so it may be private; `proxy` is a person's, so it may not."""
    if proxy is None:
        return Exchange(service, open_session(), base_url, of_environment=True)
    trusted = [urlsplit(base_url).hostname or ""]
    return Exchange(service, context.network.open_session(proxy=proxy, trusted=trusted), base_url)


def failed(outcome: Outcome, reason: Reason, detail: str, retry_after_s: float | None = None) -> Failed:
    """A failure in words that are as others wrote them, see `shown`."""
    return Failed(Result(outcome=outcome, reason=reason, detail=detail, retry_after_s=retry_after_s))


def unsure_of(reason: Reason, detail: str) -> Failed:
    """Nobody knows whether what was asked for was done."""
    return failed("unknown", reason, f"{detail}; it may have been sent")


def failure_of_status(service: str, answer: Answer, said: str = "", setting: str = "") -> Failed:
    """What an answer that is not the API's means: of a proxy or a gateway before it. `setting` names the base URL's setting.

    | status | reason | then |
    |---|---|---|
    | 429 | `rate_limited` | tried again, after the time that it asks for |
    | 401, 404 | `unauthorized` | the consumer is held: token or base URL are wrong |
    | 402, 403, 451 | `forbidden` | given up |
    | 405, 410 | `not_found` | given up |
    | 407 | `connection` | tried again |
    | 408, 409, 425, 5xx, 3xx and any other | `server_error` | tried again |
    | any other 4xx | `invalid_content` | given up |
    """
    status = answer.status
    text = f"{service} answered {status}{': ' if said else ''}{said}"
    if status == 429:
        return failed("deferred", "rate_limited", text, answer.retry_after_s)
    if status in (401, 404):
        return failed("refused", "unauthorized", f"{text}; is the token right, and {setting} the address of the API?")
    if status in _REFUSED:
        return failed("refused", _REFUSED[status], text)
    if status == 407:
        return failed("deferred", "connection", text)
    if 400 <= status < 500 and status not in _PASSES:
        return failed("refused", "invalid_content", text)
    return failed("deferred", "server_error", text, answer.retry_after_s if status == 503 else None)


def shown(result: Result, mask: Callable[[str], str]) -> Result:
    """The Result as it may be recorded: its detail on one line of limited length, after `mask` has taken the secrets out.

    Services and libraries may quote what they were sent.
    """
    if result.detail is None:
        return result
    return replace(result, detail=one_line(mask(plain_text(result.detail)), _SHOWN))


class _TooLarge(Exception):
    """The answer is larger than MAX_ANSWER_BYTES."""


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(16 * 1024):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise _TooLarge(f"it is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(content)


def _unanswered(status: int, unsure: bool, reason: Reason, detail: str) -> Failed | None:
    """None where the status had refused already, so that it decides."""
    if status >= 300:
        return None
    return unsure_of(reason, detail) if unsure else failed("deferred", reason, detail)
