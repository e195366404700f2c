"""Posting: one request and its answer, within limits of time and size. What answers mean is `consumers.webhook.answers`'s."""

from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from consumers.webhook.answers import CONNECT_S, MAX_ANSWER_BYTES, REQUEST_S, Answer, no_answer
from notifier import Permanent
from notifier.errors import DeliveryError
from notifier.one_line import one_line
from notifier.record import now
from notifier.retry_after import retry_after_s

_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=CONNECT_S)
_SHOWN = 300  # characters of what a library says


async def post(
    session: aiohttp.ClientSession,
    url: URL,
    body: bytes | aiohttp.FormData,
    headers: Mapping[str, str],
    *,
    mask: Callable[[str], str],
    service: str = "the service",
) -> Answer:
    """Sends a body. Raises NoAnswer; `mask` takes the secrets out of what it says."""
    return await exchange(session, "POST", url, mask=mask, service=service, data=body, headers=headers)


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    mask: Callable[[str], str],
    service: str,
    **options: object,
) -> Answer:
    """One request of any method; `options` are aiohttp's."""
    answer: Answer | None = None  # as far as it came
    try:
        async with session.request(
            method,
            url,
            timeout=_TIMEOUT,
            allow_redirects=False,
            **options,  # type: ignore[arg-type]
        ) as response:
            answer = Answer(status=response.status, retry_after_s=_wait_s(response))
            return Answer(status=answer.status, retry_after_s=answer.retry_after_s, text=await _read(response))
    except DeliveryError as error:  # of `notifier.network`: no connection
        outcome = "refused" if isinstance(error, Permanent) else "deferred"
        raise no_answer(outcome, error.reason, one_line(mask(str(error)), _SHOWN)) from None
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        raise no_answer("deferred", "connection", f"{service} cannot be reached: {_why(error, mask)}") from None
    except TimeoutError:
        if answer is None:
            text = f"{service} did not answer within {REQUEST_S:g} s"
            raise no_answer("unknown", "timeout", text) from None
    except aiohttp.ClientError as error:
        if answer is None:
            text = f"the connection to {service} broke ({_why(error, mask)})"
            raise no_answer("unknown", "connection", text) from None
    return answer  # its status came, and decides


def _wait_s(response: aiohttp.ClientResponse) -> float | None:
    told = response.headers.get("Retry-After")
    return None if told is None else retry_after_s(told, now())


async def _read(response: aiohttp.ClientResponse) -> str:
    """The text, as far as it is read. A connection that has more to say is not used again."""
    content = bytearray()
    if response.content.at_eof():
        return ""
    async for chunk in response.content.iter_chunked(16 * 1024):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            response.close()
            break
    return content[:MAX_ANSWER_BYTES].decode(errors="replace")


def _why(error: Exception, mask: Callable[[str], str]) -> str:
    """What an error of aiohttp says. Its text may hold the address, which may hold a secret."""
    said = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    text = type(error).__name__ if isinstance(error, aiohttp.InvalidURL) else f"{type(error).__name__}: {said}"
    return one_line(mask(text), _SHOWN)
