"""Asking a Prometheus or an Alertmanager for its active alerts, with limits on time and size, every failure one of our errors.

    answer                            error
    401                               Permanent unauthorized
    403                               Permanent forbidden
    404, 405, 410                     Permanent not_found
    3xx                               Permanent invalid_content: credentials go to the address that they were written for alone
    429                               Retryable rate_limited, with the time that it asks for
    5xx, not JSON, not alerts         Retryable server_error
    more than MAX_BODY_BYTES          Permanent invalid_content
    no answer in time                 Retryable timeout
    cut off, refused, not resolved    Retryable connection

No text of an error shows the address or what stands in an answer: either may hold a secret.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

from notifier import Context, Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.record import now
from notifier.retry_after import retry_after_s

Api: TypeAlias = Literal["prometheus", "alertmanager"]

MAX_BODY_BYTES = 32 * 1024 * 1024  # 10,000 alerts of 3 KB
REQUEST_S = 30.0  # of one request
CONNECT_S = 5.0
_PATHS: Mapping[Api, str] = {
    "alertmanager": "/api/v2/alerts?active=true&silenced=false&inhibited=false&unprocessed=false",
    "prometheus": "/api/v1/alerts",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where alerts are asked for, and how."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)  # with credentials
    authority: str | None = None  # PEM; none: the machine's
    proxy: str | None = None


async def active_alerts(source: Source, api: Api | None, context: Context) -> tuple[list[Any], Api]:
    """The alerts that fire, as parsed JSON, and which API answered. `api` None: Alertmanager's is tried first."""
    if api is not None:
        return _alerts_in(await _get(source, _PATHS[api], context)), api
    try:
        return _alerts_in(await _get(source, _PATHS["alertmanager"], context)), "alertmanager"
    except DeliveryError as error:
        if error.reason != "not_found":
            raise
    return _alerts_in(await _get(source, _PATHS["prometheus"], context)), "prometheus"


def _alerts_in(answer: object) -> list[Any]:
    """Alertmanager answers a list; Prometheus an object, with alerts that are only pending too."""
    data = answer.get("data") if isinstance(answer, dict) else None
    found = data.get("alerts") if isinstance(data, dict) else answer
    if not isinstance(found, list):
        raise Retryable(
            "server_error", "the answer is no list of alerts; does `url` lead to a Prometheus or Alertmanager?"
        )
    return [one for one in found if not (isinstance(one, dict) and one.get("state") in ("pending", "inactive"))]


async def _get(source: Source, path: str, context: Context) -> Any:
    import aiohttp  # takes long to import, and most commands need none

    timeout = aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=CONNECT_S)
    options: dict[str, Any] = {"allow_redirects": False, "headers": {"Accept": "application/json", **source.headers}}
    if source.authority is not None:
        options["ssl"] = ssl.create_default_context(cadata=source.authority)
    try:
        async with (
            asyncio.timeout(REQUEST_S),
            context.network.open_session(proxy=source.proxy, timeout=timeout) as session,
            session.get(source.url.rstrip("/") + path, **options) as response,
        ):
            if response.status != 200:
                raise _failure(response.status, response.headers)
            body = await _read(response)
    except TimeoutError:
        raise Retryable("timeout", f"no answer within {REQUEST_S:g} s") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError):
        text = "its certificate is not trusted; write the authority that issued it as `authority`"
        raise Retryable("connection", text) from None
    except aiohttp.ClientError as error:
        raise Retryable("connection", f"it cannot be reached: {type(error).__name__}") from None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Retryable("server_error", "the answer is cut off or not JSON") from None


async def _read(response: Any) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(65_536):  # unpacked, so that a bomb is counted too
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise Permanent("invalid_content", f"the answer has more than {MAX_BODY_BYTES} bytes; set `matchers` there")
    return bytes(content)


def _failure(status: int, headers: Mapping[str, str]) -> DeliveryError:
    said = f"the answer is {status}"
    match status:
        case 401:
            return Permanent("unauthorized", f"{said}; write a `token`, or `username` and `password`, that are valid")
        case 403:
            return Permanent("forbidden", f"{said}; these credentials may not read alerts")
        case 404 | 405 | 410:
            return Permanent(
                "not_found", f"{said}; `url` must lead to a Prometheus or Alertmanager, its prefix included"
            )
        case 429:
            wait = retry_after_s(headers.get("Retry-After"), now())
            return Retryable("rate_limited", said, wait)
        case _ if 300 <= status < 400:
            return Permanent(
                "invalid_content", f"{said}: it sends on to another address; write that as `url` if it is the right one"
            )
        case _ if status >= 500:
            return Retryable("server_error", f"{said}; it is asked again with the next run")
        case _:
            return Permanent("invalid_content", said)
