"""Messages that are pushed: read, checked one by one, and handed to the intake, all or none.

What a caller wrote goes to the topic byte for byte, with an `id` added where there is none: fields nobody here knows, and
numbers that other parsers would round, arrive as they were.
"""

import asyncio
import hashlib
import re  # for our own constant patterns
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
import uuid6
from sqlalchemy import select

from control_api.http.body import JSON, NDJSON, parse_json
from control_api.http.idempotency import Occasion
from control_api.intake.intake import Intake, Outgoing
from control_api.models import DefinitionRow
from notifier.database import Database
from notifier.errors import FieldError, InputError, RecordError, RecordTooLarge, UnsupportedVersion
from notifier.message import MAX_BYTES, Message
from notifier.registry import Registry
from notifier.topics import MESSAGES

MEDIA_TYPES = (JSON, NDJSON)
_MAX_ERRORS = 100  # named in one answer
_IN_THREAD_BYTES = 256 * 1024
_SQL_NAMES = 500  # in one query
_PATH = re.compile(r"(.*) - at `(?:key in )?\$(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")
# NUL is no part of any name, and PostgreSQL, which the history may lie in, cannot store it.
_NAMES = ("id", "producer", "sender", "receiver", "configuration")


@dataclass(frozen=True, slots=True)
class Item:
    """One message as it came: `pointer` is its place in the request, `raw` its JSON, `value` the same parsed."""

    pointer: str
    raw: bytes
    value: Any


@dataclass(frozen=True, slots=True)
class Checked:
    """A message that may go to the topic."""

    pointer: str
    id: str
    message: Message
    raw: bytes


async def accept(
    database: Database, registry: Registry, intake: Intake, media_type: str, body: bytes, occasion: Occasion
) -> list[str]:
    """Puts all messages of a request on `messages`, or none; answers their ids when Kafka has committed them.

    Raises Problem 400 for what is not JSON, InputError that names what does not fit, RecordTooLarge, BrokerError and
    DatabaseError.
    """
    if len(body) < _IN_THREAD_BYTES:
        checked = read(media_type, body, occasion)
    else:  # a large body would hold up the other requests
        checked = await asyncio.to_thread(read, media_type, body, occasion)
    await check_producers(database, registry, checked)
    await intake.write(
        [
            Outgoing(MESSAGES, one.raw, None if one.message.receiver is None else one.message.receiver.encode())
            for one in checked
        ]
    )
    return [one.id for one in checked]


def read(media_type: str, body: bytes, occasion: Occasion) -> list[Checked]:
    """The messages of a body, each checked by itself. Raises as `accept` does."""
    items = _lines(body) if media_type == NDJSON else _items(body)
    checked: list[Checked] = []
    errors: list[FieldError] = []
    for position, item in enumerate(items):
        found = _check(item, position, occasion)
        if isinstance(found, Checked):
            checked.append(found)
        else:
            errors += found
            if len(errors) >= _MAX_ERRORS:
                break
    if errors:
        raise InputError(errors[:_MAX_ERRORS])
    return checked


def _items(body: bytes) -> list[Item]:
    value = parse_json(body)
    if isinstance(value, dict):
        return [Item("", body.strip(), value)]
    if not isinstance(value, list):
        raise InputError(FieldError("", "must be a message, which is a JSON object, or an array of messages"))
    raws = msgspec.json.decode(body, type=list[msgspec.Raw])
    return [
        Item(f"/{position}", bytes(raw).strip(), part)
        for position, (raw, part) in enumerate(zip(raws, value, strict=True))
    ]


def _lines(body: bytes) -> list[Item]:
    lines = [(number, line.strip()) for number, line in enumerate(body.split(b"\n"), 1)]
    return [
        Item(f"/{position}", line, parse_json(line, f"line {number}"))
        for position, (number, line) in enumerate((number, line) for number, line in lines if line)
    ]


def _check(item: Item, position: int, occasion: Occasion) -> Checked | list[FieldError]:
    if not isinstance(item.value, dict):
        return [FieldError(item.pointer, "must be a message, which is a JSON object")]
    try:
        message = Message.decode(item.raw)
    except UnsupportedVersion as error:
        return [FieldError(f"{item.pointer}/v", str(error))]
    except RecordError as error:
        return [_field_error(item.pointer, str(error))]
    nul = [name for name in _NAMES if "\0" in (getattr(message, name) or "")]
    if nul:
        return [FieldError(f"{item.pointer}/{name}", "must not hold NUL") for name in nul]
    id_, raw = message.id, item.raw
    if id_ is None:
        id_ = _new_id(occasion, position)
        raw = _with_id(item, id_)
    if len(raw) > MAX_BYTES:
        raise RecordTooLarge(
            f"{item.pointer or 'the message'}: {len(raw)} bytes, and a message may have {MAX_BYTES} at most"
        )
    return Checked(item.pointer, id_, message, raw)


def _with_id(item: Item, id_: str) -> bytes:
    if "id" in item.value:  # as null
        return orjson.dumps({**item.value, "id": id_})
    return item.raw[:-1] + b',"id":"' + id_.encode() + b'"}'


def _new_id(occasion: Occasion, position: int) -> str:
    if occasion.seed is None:
        return str(uuid6.uuid7())
    # The same id for the same key and place, however often it is repeated; the form is that of UUIDv7 (RFC 9562).
    random = hashlib.sha256(f"{occasion.seed}/{position}".encode()).digest()[:10]
    number = int(occasion.at.timestamp() * 1000) << 80 | int.from_bytes(random)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid6.UUID(int=number))


def _field_error(pointer: str, text: str) -> FieldError:
    """msgspec's finding, "Expected `str`, got `int` - at `$.title`", with a JSON Pointer."""
    path = ""
    found = _PATH.fullmatch(text)
    if found is not None:
        text, path = found[1], found[2]
    path = "".join(f"/{part}" for part in path.replace("[", ".").replace("]", "").split(".") if part)
    missing = _MISSING.fullmatch(text)
    if missing is not None:
        return FieldError(f"{pointer}{path}/{missing[1]}", "is required")
    return FieldError(pointer + path, text)


async def check_producers(database: Database, registry: Registry, messages: Sequence[Checked]) -> None:
    """Raises InputError for each message whose producer is not defined, or is of a type that takes no pushes.

    The database is asked each time: what was just defined can be used at once, and what was just deleted no more.
    """
    names = sorted({one.message.producer for one in messages})
    types: dict[str, str] = {}
    async with database.read() as session:
        for start in range(0, len(names), _SQL_NAMES):
            rows = await session.execute(
                select(DefinitionRow.name, DefinitionRow.spec).where(
                    DefinitionRow.kind == "producer", DefinitionRow.name.in_(names[start : start + _SQL_NAMES])
                )
            )
            types |= {name: spec["type"] for name, spec in rows}
    wrong = {name: text for name in names if (text := _refusal(registry, types, name)) is not None}
    if wrong:
        errors = [
            FieldError(f"{one.pointer}/producer", wrong[one.message.producer])
            for one in messages
            if one.message.producer in wrong
        ]
        raise InputError(errors[:_MAX_ERRORS])


def _refusal(registry: Registry, types: Mapping[str, str], name: str) -> str | None:
    if name not in types:
        return f"there is no producer {name!r}"
    try:
        plugin = registry.get("producer", types[name])
    except InputError:
        return f"the producer {name!r} has the type {types[name]!r}, which is not installed here"
    if getattr(plugin, "pull", True):
        return (
            f"the producer {name!r} has the type {types[name]!r}, which fetches its messages itself and takes no pushes"
        )
    return None
