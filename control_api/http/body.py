"""Bodies of requests: JSON, read strictly - UTF-8 only, no NaN, no lone surrogates, nested 64 deep at most."""

import asyncio
import codecs
import re  # for our own constant pattern
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from control_api.definitions.json_value import MAX_DEPTH
from control_api.http.encoding import coding_of, unpack
from control_api.http.headers import header
from control_api.http.held import hold_of
from control_api.http.limits import MAX_VALUES, body_limit
from control_api.http.media_type import ANY, ANY_JSON, JSON, is_json, media_type_of
from control_api.http.problems import Problem
from notifier.errors import FieldError, InputError
from notifier.record import JsonObject
from notifier.validation import field_errors

# One that does not end reaches to the end: tried again from each of its quotes, it would take the square of its length.
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_IN_THREAD_BYTES = 256 * 1024  # parsing a larger body would hold up the other requests

Watch = Callable[[str, bytes, bool], Awaitable[None]]  # the media type, a part of the body, and whether it is the last

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


async def read_body(request: Request, *media_types: str, watch: Watch | None = None) -> tuple[str, bytes]:
    """The media type, one of those given, and the body in UTF-8, unpacked, without a byte order mark.

    `watch` is called with each part of a body that comes in more than one, unless it is packed or has another media type.
    Raises Problem 415 for another type or encoding, 400 for no body or a damaged one, 413, and what `watch` raises.
    """
    media_type = media_type_of(request)
    name = JSON if ANY_JSON in media_types and is_json(media_type.name) else media_type.name
    is_taken = name in media_types and media_type.is_utf8
    watched = watch is not None and is_taken and header(request.scope, b"content-encoding") is None
    body = await whole_body(request, partial(watch, name) if watched and watch is not None else None)
    coding = coding_of(request)
    if coding is not None:
        body = await unpack(body, coding, body_limit(request.url.path), hold_of(request.scope))
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.strip():
        raise Problem(400, "the body is empty")
    if ANY in media_types:
        return media_type.name, media_type.utf8(body)
    if not is_taken:
        given = f"not {media_type.header!r}" if media_type.header else "and there is no Content-Type"
        raise Problem(415, f"the body must be {' or '.join(media_types)} in UTF-8, {given}")
    return name, body


async def whole_body(request: Request, watch: Callable[[bytes, bool], Awaitable[None]] | None = None) -> bytes:
    """The body as it came; a second call gives the same. `watch`: as of `read_body`."""
    # Kept where Starlette's own `body` keeps it. The scope lives as long as the connection, and the body with it.
    body: bytes | None = getattr(request, "_body", None)
    if body is None:
        parts = []
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
            if watch is not None and (more or len(parts) > 1):
                await watch(parts[-1], not more)
        body = request._body = parts[0] if len(parts) == 1 else b"".join(parts)
    return body


def parse_json(data: bytes, place: str = "the body") -> Any:
    """The value. Raises Problem 400 that says where it is not JSON, and for JSON that is nested too deeply."""
    _check_values(data, place)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"{place} is not JSON: {error}") from None
    _check_depth(value, place)
    return value


async def parse_large_json(data: bytes) -> Any:
    """`parse_json`, in a thread where the body is large."""
    return await of_large(data, parse_json)


async def of_large(data: bytes, read: Callable[[bytes], T]) -> T:
    """What `read` makes of a body, in a thread where it is large."""
    if len(data) < _IN_THREAD_BYTES:
        return read(data)
    return await asyncio.to_thread(read, data)


def _check_values(data: bytes, place: str) -> None:
    """Raises Problem 413 before more than `MAX_VALUES` objects are made of it."""
    if _count(data) > MAX_VALUES and _count(_TEXT.sub(b"", data)) > MAX_VALUES:
        raise Problem(413, f"{place} holds more than {MAX_VALUES} values")


def _count(data: bytes) -> int:
    return sum(map(data.count, (b",", b"[", b"{")))


def _check_depth(value: Any, place: str) -> None:
    level = [value] if isinstance(value, dict | list) else []  # by levels: recursion is what this guards against
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            part
            for outer in level
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(part, dict | list)
        ]
    if not level:
        return
    raise Problem(400, f"{place} is nested more than {MAX_DEPTH} deep")


async def read_model(request: Request, model: type[M], *media_types: str) -> tuple[bytes, M]:
    """The body (JSON, unless it may be others) as it came and as a model.

    Raises Problem 400 and 415, and InputError that names every field.
    """
    _, body = await read_body(request, *(media_types or (JSON,)))
    value = parse_json(body)
    if not isinstance(value, dict):
        raise InputError(FieldError("", "must be a JSON object"))
    try:
        # As JSON, not as Python values: only JSON mode reads a time from a text.
        return body, model.model_validate_json(body)
    except ValidationError as error:
        raise InputError(field_errors(error, value)) from None


def documented_body(model: type[BaseModel], example: JsonObject, *media_types: str) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body (JSON, unless it may be others) by `read_model`."""
    schema = model.model_json_schema()
    content = {media_type: {"schema": schema, "example": example} for media_type in media_types or (JSON,)}
    return {"requestBody": {"required": True, "content": content}}
