"""Registry: looks up the schemas of records, by the ids that are written in front of them.

The API is that of Confluent's schema registry, which others speak too:
https://docs.confluent.io/platform/current/schema-registry/develop/api.html

answer                                  then
the schema                              kept; ids are never given twice
404, a schema that cannot be read       the record is a dead letter
401, 407; 403                           the producer does not go on, and is tried again: its records wait
429, any other status, no answer        the same
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import msgspec

from notifier.errors import DeliveryError, InvalidRecord, Permanent, RecordError, Retryable
from notifier.network import Network
from notifier.one_line import one_line
from notifier.record import now
from notifier.retry_after import retry_after_s

_ANSWER_S, _CONNECT_S = 15.0, 5.0
_MAX_BYTES = 1024 * 1024  # of an answer
_MOST = 1000  # schemas that are kept
_MOST_REFERENCES = 50  # of a schema, those of its references among them
_UNKNOWN_S = 60.0  # that an id without a schema is not asked for again
_HEADERS = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
_INSTALL = "Avro and JSON Schema need packages that are not here: pip install 'notifier[registry]'"


class Schema(Protocol):
    """How the records of one schema are read."""

    format: str  # `avro` or `json_schema`

    def read(self, data: bytes) -> object:
        """The payload of a value, without its first five bytes. Raises InvalidRecord."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Text:
    """A schema as the registry has it."""

    name: str  # by which others refer to it
    text: str


class Registry:
    """The schemas of one registry; an address of None has none. Its connections are there while its block runs."""

    def __init__(
        self,
        url: str | None,
        network: Network,
        *,
        proxy: str | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self._url = url
        self._network = network
        self._proxy = proxy
        self._headers = dict(_HEADERS)
        if username is not None:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(username, password or "")
        self._session: aiohttp.ClientSession | None = None
        self._known: OrderedDict[int, Schema | RecordError] = OrderedDict()
        self._unknown: dict[int, float] = {}  # until when it is not asked for again

    async def __aenter__(self) -> "Registry":
        """Raises Permanent where packages are missing."""
        if self._url is not None:
            _require()
            timeout = aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_CONNECT_S)
            self._session = self._network.open_session(proxy=self._proxy, timeout=timeout)
        return self

    async def __aexit__(self, *args: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self) -> None:
        """Asks whether it is one, and lets us in. Raises Permanent and Retryable."""
        if self._session is not None:
            await self._get("/schemas/types")

    async def schemas(self, ids: Iterable[int]) -> Mapping[int, Schema | RecordError]:
        """The schemas of these ids, or why there is none. Raises Permanent and Retryable where it does not answer."""
        return {id_: await self._schema(id_) for id_ in ids}

    async def _schema(self, id_: int) -> Schema | RecordError:
        at = asyncio.get_running_loop().time()
        known = self._known.get(id_)
        if known is not None and self._unknown.get(id_, at + 1) > at:
            self._known.move_to_end(id_)
            return known
        self._unknown.pop(id_, None)
        found: Schema | RecordError
        try:
            answer = await self._get(f"/schemas/ids/{id_}")
            if answer is None:
                self._unknown[id_] = at + _UNKNOWN_S
                raise InvalidRecord(f"the registry has no schema {id_}")
            texts = [*await self._references(answer, set(), 0), _Text(name="", text=_text_of(answer))]
            found = await asyncio.to_thread(_built, answer.get("schemaType") or "AVRO", texts)
        except RecordError as error:
            found = InvalidRecord(f"its schema {id_} cannot be used: {one_line(error)}")
        self._known[id_] = found
        if len(self._known) > _MOST:
            self._unknown.pop(self._known.popitem(last=False)[0], None)
        return found

    async def _references(self, answer: Mapping[str, Any], seen: set[str], depth: int) -> list[_Text]:
        """The schemas that one refers to, each behind those that it refers to itself."""
        found: list[_Text] = []
        given = answer.get("references") or []
        for reference in given if isinstance(given, list) else []:
            if not isinstance(reference, dict):
                continue
            subject, version = str(reference.get("subject")), str(reference.get("version"))
            place = f"/subjects/{quote(subject, safe='')}/versions/{quote(version, safe='')}"
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > _MOST_REFERENCES or depth > _MOST_REFERENCES:
                raise InvalidRecord(f"it refers to more than {_MOST_REFERENCES} others")
            other = await self._get(place)
            if other is None:
                raise InvalidRecord(f"the registry has not what it refers to, {subject} {version}")
            found += await self._references(other, seen, depth + 1)
            found.append(_Text(name=str(reference.get("name")), text=_text_of(other)))
        return found

    async def _get(self, path: str) -> dict[str, Any] | None:
        """The answer to a request; None where there is nothing. Raises Permanent, Retryable and InvalidRecord."""
        assert self._session is not None
        try:
            async with self._session.get(
                f"{self._url}{path}", headers=self._headers, allow_redirects=False
            ) as response:
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise _refusal(response)
                data = await _read(response)
        except DeliveryError:
            raise
        except TimeoutError:
            raise Retryable("timeout", f"the schema registry did not answer within {_ANSWER_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            text = f"no answer of the schema registry: {type(error).__name__}"  # without the address
            raise Retryable("connection", text) from None
        try:
            answer = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Retryable("server_error", "what answers is no schema registry; look at `registry`") from None
        return answer if isinstance(answer, dict) else {}


def _refusal(response: aiohttp.ClientResponse) -> DeliveryError:
    status = response.status
    text = f"the schema registry answers {status}"
    if status in (401, 407):
        return Permanent("unauthorized", f"{text}; look at registry_username and registry_password")
    if status == 403:
        return Permanent("forbidden", f"{text}: there is no right to read schemas")
    if status == 429:
        told = response.headers.get("Retry-After")
        return Retryable("rate_limited", text, None if told is None else retry_after_s(told, now()))
    return Retryable("server_error", text)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > _MAX_BYTES:
            response.close()
            raise InvalidRecord(f"it has more than {_MAX_BYTES} bytes")
    return bytes(content)


def _text_of(answer: Mapping[str, Any]) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise InvalidRecord("the registry gives no text of it")
    return text


def _built(kind: object, texts: list[_Text]) -> Schema:
    """Raises InvalidRecord."""
    from producers.kafka.avro import AvroSchema
    from producers.kafka.json_schema import JsonSchema

    named = [(one.name, one.text) for one in texts]
    if kind == "AVRO":
        return AvroSchema(named)
    if kind == "JSON":
        return JsonSchema(named)
    raise InvalidRecord(f"schemas of the type {one_line(kind, 50)} are not read")


def _require() -> None:
    try:
        import fastavro  # noqa: F401 - whether it is there
        import jsonschema  # noqa: F401
    except ImportError:
        raise Permanent("invalid_content", _INSTALL) from None
