"""Pushed messages: read, checked one by one, and handed to the intake, all or none.

A message goes to the topic byte for byte, with an `id` added where there is none. So unknown fields, and numbers that other
parsers would round, arrive as they were.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from control_api.access.actor import Actor
from control_api.http.body import parse_json
from control_api.http.media_type import NDJSON
from control_api.http.page import json_response
from control_api.http.problems import Problem
from control_api.intake.intake import Intake
from control_api.intake.occasion import Occasion
from control_api.intake.outgoing import Outgoing
from control_api.look_up import LookUp
from control_api.parts import Parts
from control_api.rest.items import Elements, Lines
from notifier.errors import FieldError, InputError, RecordError, RecordTooLarge, UnsupportedVersion
from notifier.message import MAX_BYTES, Message, read_message, without_absent
from notifier.pointer import pointer
from notifier.record import JsonObject
from notifier.record_words import finding, findings
from notifier.registry import Registry
from notifier.topics import MESSAGES

_MAX_ERRORS = 100  # named in one answer
_IN_THREAD_BYTES = 256 * 1024
# NUL is no part of any name, and PostgreSQL, which the history may lie in, cannot store it.
_NAMES = ("id", "producer", "sender", "receiver", "configuration")


@dataclass(frozen=True, slots=True)
class Pushed:
    """One message as it was pushed: `pointer` is its place in the request, `raw` its JSON, `value` the same parsed."""

    pointer: str
    raw: bytes
    value: Any


@dataclass(frozen=True, slots=True)
class Checked:
    """A message that may go to the topic."""

    pointer: str
    id: str
    producer: str
    receiver: str | None
    raw: bytes


ACCEPTED: JsonObject = {
    "type": "object",
    "required": ["accepted", "messages"],
    "properties": {
        "accepted": {"type": "integer"},
        "messages": {
            "type": "array",
            "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
        },
    },
}


def accepted(ids: Sequence[str]) -> Response:
    """The answer to messages that Kafka has committed, as `ACCEPTED` describes it."""
    return json_response({"accepted": len(ids), "messages": [{"id": id_} for id_ in ids]}, 202)


async def accept(parts: Parts, actor: Actor, media_type: str, body: bytes, occasion: Occasion) -> list[str]:
    """Puts all messages of a request on `messages`, or none; answers their ids when Kafka has committed them.

    Raises Problem 400 for what is not JSON, InputError that names what does not fit, RecordTooLarge, OtherProducer, BrokerError
    and DatabaseError.
    """
    if len(body) < _IN_THREAD_BYTES:
        checked = read(media_type, body, occasion)
    else:  # a large body would hold up the other requests
        checked = await asyncio.to_thread(read, media_type, body, occasion)
    return await accept_checked(parts, actor, checked)


async def accept_checked(parts: Parts, actor: Actor, checked: Sequence[Checked]) -> list[str]:
    """As `accept`, for messages that are read already."""
    for producer in {one.producer for one in checked}:
        actor.require_producer(producer)
    await check_producers(parts.producer_types, parts.registry, checked)
    return await write(parts.intake, checked)


async def write(intake: Intake, messages: Sequence[Checked]) -> list[str]:
    """Puts all messages on `messages`, or none; answers their ids. Raises BrokerError."""
    await intake.write(
        [Outgoing(MESSAGES, one.raw, None if one.receiver is None else one.receiver.encode()) for one in messages]
    )
    return [one.id for one in messages]


def read(media_type: str, body: bytes, occasion: Occasion) -> list[Checked]:
    """The messages of a body, each checked by itself. Raises as `accept` does."""
    reader = Reader(media_type, occasion)
    reader.feed(body, last=True)
    return reader.checked


def read_one(raw: bytes, position: int, occasion: Occasion) -> Checked:
    """A message by itself. Raises Problem 400, RecordTooLarge, and InputError that names what does not fit."""
    checked = _check(Pushed("", raw, parse_json(raw)), position, occasion)
    if isinstance(checked, Checked):
        return checked
    raise InputError(checked)


class Reader:
    """Reads the messages of a body that comes in pieces, however it is cut. `checked`: those that may go to the topic."""

    def __init__(self, media_type: str, occasion: Occasion) -> None:
        self._occasion = occasion
        self._position = 0
        self._errors: list[FieldError] = []
        self._lines = Lines() if media_type == NDJSON else None
        self._elements: Elements | None = None  # of an array, once that shows
        self._begun: list[bytes] = []  # of a body that is no array
        self.checked: list[Checked] = []

    @property
    def held(self) -> int:
        """How many bytes are kept of a line, or of a body that is no array, which is not whole."""
        return self._lines.held if self._lines else sum(map(len, self._begun))

    def feed(self, data: bytes, last: bool) -> None:
        """Reads on. Raises as `accept` does, as soon as that shows."""
        for pushed in self._pushed_lines(self._lines, data, last) if self._lines else self._values(data, last):
            one = _check(pushed, self._position, self._occasion)
            self._position += 1
            if isinstance(one, Checked):
                self.checked.append(one)
            else:
                self._errors += one
                if len(self._errors) >= _MAX_ERRORS:
                    break
        if self._errors and (last or len(self._errors) >= _MAX_ERRORS):
            raise InputError(self._errors[:_MAX_ERRORS])

    def _values(self, data: bytes, last: bool) -> Iterator[Pushed]:
        if self._elements is None:
            if not self._begun:
                data = data.lstrip() if data[:1].isspace() else data
            if not self._begun and data.startswith(b"["):
                self._elements = Elements()
            elif last:
                yield _single(b"".join([*self._begun, data]).rstrip())
                return
            else:
                self._begun += [data] if data else []
                return
        for position, raw in enumerate(self._elements.feed(data, last), self._position):
            yield Pushed(f"/{position}", raw, parse_json(raw, f"message {position + 1}"))

    def _pushed_lines(self, lines: Lines, data: bytes, last: bool) -> Iterator[Pushed]:
        for position, (start, line) in enumerate(lines.feed(data, last), self._position):
            if len(line) > MAX_BYTES:
                raise RecordTooLarge(f"/{position}: {len(line)} bytes, and a message may have {MAX_BYTES} at most")
            try:
                value = parse_json(line)
            except Problem as refused:
                raise Problem(400, f"line {lines.number(start)}: {refused.detail}") from None
            yield Pushed(f"/{position}", line, value)


def _single(body: bytes) -> Pushed:
    if body.startswith(b"{"):
        if len(body) > MAX_BYTES:
            raise RecordTooLarge(f"the message: {len(body)} bytes, and a message may have {MAX_BYTES} at most")
        return Pushed("", body, parse_json(body))
    parse_json(body[:MAX_BYTES])
    raise InputError(FieldError("", "must be a message, which is a JSON object, or an array of messages"))


def _check(pushed: Pushed, position: int, occasion: Occasion) -> Checked | list[FieldError]:
    if not isinstance(pushed.value, dict):
        return [FieldError(pushed.pointer, "must be a message, which is a JSON object")]
    try:
        message, raw = read_message(pushed.raw)
    except UnsupportedVersion as error:
        return [FieldError(f"{pushed.pointer}/v", str(error))]
    except RecordError as error:
        present = without_absent(pushed.raw)
        found = findings(Message, pushed.value if present is None else parse_json(present)) or [finding(str(error))]
        return [FieldError(pointer(place, pushed.pointer), words) for place, words in found]
    nul = [name for name in _NAMES if "\0" in (getattr(message, name) or "")]
    if nul:
        return [FieldError(f"{pushed.pointer}/{name}", "must not hold NUL") for name in nul]
    id_ = message.id
    if id_ is None:
        id_ = occasion.id_of(position)
        if "id" in pushed.value:  # as null
            raw = without_absent(raw) or raw
        raw = raw[:-1] + b',"id":"' + id_.encode() + b'"}'
    if len(raw) > MAX_BYTES:
        raise RecordTooLarge(
            f"{pushed.pointer or 'the message'}: {len(raw)} bytes, and a message may have {MAX_BYTES} at most"
        )
    return Checked(pushed.pointer, id_, message.producer, message.receiver, raw)


async def check_producers(types: LookUp[str, str], registry: Registry, messages: Sequence[Checked]) -> None:
    """Raises InputError for each message whose producer is not defined, or is of a type that takes no pushes.

    What was just defined can be used at once, and what was just deleted no more; what another process deleted, within `KEPT_S`.
    """
    names = sorted({one.producer for one in messages})
    known = await types.get_many(names)
    wrong = {name: text for name in names if (text := _refusal(registry, known, name)) is not None}
    if wrong:
        errors = [
            FieldError(f"{one.pointer}/producer", wrong[one.producer]) for one in messages if one.producer in wrong
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
