"""Redash's HTTP API: requests with limits on time and size, every failure mapped to one of our errors.

    status                              error
    401                                 Permanent unauthorized
    403, 451                            Permanent forbidden
    404, 410                            Permanent not_found
    429                                 Retryable rate_limited with the time until which nothing is asked
    3xx                                 Permanent invalid_content: a key is sent only to the server it was written for
    other 4xx                           Permanent invalid_content
    409, 5xx, not JSON, cut off         Retryable server_error
    no answer in time                   Retryable timeout
    refused, not resolved               Retryable connection; `notifier.network` says what is forbidden
    more than MAX_BYTES                 Permanent invalid_content

What is asked for is `producers.redash.redash`'s.
"""

from typing import Any, Self

import aiohttp
import msgspec

from notifier import Context, JsonObject, Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.one_line import one_line
from notifier.outside import unreachable
from notifier.record import now
from notifier.retry_after import retry_after_s

MAX_BYTES = 32 * 1024 * 1024  # of one answer
TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5, sock_read=30)  # seconds, of one request
_SHOWN = 300  # characters of what Redash says


class RedashClient:
    """Sends requests within `async with`."""

    def __init__(self, base_url: str, api_key: str, context: Context, proxy: str | None) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._context = context
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._context.network.open_session(proxy=self._proxy, timeout=TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> JsonObject:
        """The object at a path. Raises as the table at the top says."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: JsonObject) -> JsonObject:
        """The object that is answered to one. Raises as the table at the top says."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: JsonObject | None) -> JsonObject:
        assert self._session is not None, "use it within `async with`"
        headers = {"Authorization": f"Key {self._api_key}", "Accept": "application/json"}
        try:
            async with self._session.request(
                method, self._base_url + path, json=body, headers=headers, allow_redirects=False
            ) as response:
                content = await self._read(response)
        except DeliveryError:
            raise
        except TimeoutError:
            raise Retryable("timeout", "Redash did not answer in time") from None
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            raise Retryable("server_error", "Redash's answer is cut off") from None
        except aiohttp.ClientError as error:
            raise Retryable("connection", f"Redash cannot be reached: {self._clean(unreachable(error))}") from None
        data = _json(content)
        if response.status != 200:
            said = self._clean(data.get("message") or "") if isinstance(data, dict) else ""
            raise _failure(response, f"Redash answered {response.status}{': ' if said else ''}{said}")
        if not isinstance(data, dict):
            raise Retryable("server_error", "Redash's answer is no JSON object; is `url` the address of Redash itself?")
        return data

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(65_536):  # decompressed, so that a zip bomb is counted too
            content += chunk
            if len(content) > MAX_BYTES:
                text = f"Redash's answer has more than {MAX_BYTES:,} bytes; give its query a LIMIT, or fewer columns"
                raise Permanent("invalid_content", text)
        return bytes(content)

    def _clean(self, what: object) -> str:
        """One bounded line without the key."""
        return one_line(str(what).replace(self._api_key, "***"), _SHOWN)


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _failure(response: aiohttp.ClientResponse, said: str) -> DeliveryError:
    match response.status:
        case 401:
            return Permanent("unauthorized", f"{said}; write an `api_key` that is valid")
        case 403 | 451:
            return Permanent(
                "forbidden", f"{said}; the `api_key` may not see or run this query: take that of a user who may"
            )
        case 404 | 410:
            return Permanent("not_found", f"{said}; there is no such query, or the `api_key` may not see it")
        case 429:
            wait = retry_after_s(response.headers.get("Retry-After"), now())
            return Retryable("rate_limited", f"{said}; it is asked again with the next run", wait)
        case status if 300 <= status < 400:
            return Permanent(
                "invalid_content", f"{said}, which is not followed; write as `url` the address that answers itself"
            )
        case status if 400 <= status < 500 and status not in (408, 409, 425):
            return Permanent("invalid_content", said)
        case _:
            return Retryable("server_error", f"{said}; it is asked again with the next run")
