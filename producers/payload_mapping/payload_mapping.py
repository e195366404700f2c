"""PayloadMapping: the messages that a payload is, by a mapping of a person's, a ready one, or none. No I/O.

Whatever comes, it raises nothing and loses nothing: a part of which no message can be made becomes one that shows the part.
"""

from collections.abc import Iterator
from collections.abc import Mapping as Headers
from dataclasses import dataclass, field

from notifier import JsonObject
from notifier.one_line import one_line
from producers.payload_mapping.budget import Budget, Exhausted
from producers.payload_mapping.expression import compiled, find, interpreter
from producers.payload_mapping.fitting import MAX_CONTENT_BYTES, content_of, fitted, id_of, name_of
from producers.payload_mapping.mapping import Mapping
from producers.payload_mapping.ready import READY, Part

MAX_MESSAGES = 10_000  # of a payload
MAX_RECEIVERS = 100  # of a part
_MAX_PROBLEMS = 50
_STEPS = 2_000_000  # of all expressions on a payload; a step takes one or two microseconds
_EACH_STEPS = 1_000_000  # of `each`
_PART_STEPS = 300_000  # of the other ones on one part
_SHOWN_STEPS = 4_000_000  # of writing parts out as they are
_SHOWN_BYTES = 16_000_000  # of all contents; beyond that each has `_SMALL`
_SMALL = 2000
_FIELDS = ("content", "title", "receiver", "sender", "severity", "url", "id", "occurred_at")


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What a payload became."""

    messages: list[JsonObject]  # fields of Message, all but `producer`
    problems: list[str]  # what was found and did not fit, or was not found; one line each


class PayloadMapping:
    """Makes messages of payloads. Shared by concurrent calls; a large payload takes seconds, so give it a thread of its own."""

    def __init__(self, mapping: Mapping | None = None) -> None:
        """None: the payload itself is the content."""
        self._mapping = mapping or Mapping()
        self._ready = None if self._mapping.ready is None else READY[self._mapping.ready]
        self._severities = {word.casefold(): severity for word, severity in self._mapping.severities.items()}
        given = {name: getattr(self._mapping, name) for name in _FIELDS}
        self._fields = {name: compiled(text) for name, text in given.items() if text is not None}
        self._labels = {name: compiled(text) for name, text in self._mapping.labels.items()}
        self._each = None if self._mapping.each is None else compiled(self._mapping.each)

    def messages(self, payload: object, headers: Headers[str, str]) -> list[JsonObject]:
        """The messages of a payload, parsed JSON or a text, as JSON objects with the fields of Message but `producer`.

        An `id` is there only where one is found, and is another for each message of the payload. Never raises.
        """
        return self.read(payload, headers).messages

    def read(self, payload: object, headers: Headers[str, str]) -> Mapped:
        """As `messages`, and what did not fit. Never raises."""
        reading = _Reading(payload, {name.lower(): value for name, value in headers.items()})
        for number, part in enumerate(self._parts(reading), 1):
            if len(reading.messages) >= MAX_MESSAGES:
                reading.leave_out(f"of more than {MAX_MESSAGES} parts, those after {number - 1} are left out")
                break
            problems: list[str] = []
            found = self._found(part, reading, problems)
            message = fitted(found, self._severities, problems)
            message["content"] = reading.content(found.get("content"), part.part)
            reading.add(message, found)
            reading.problems += [f"message {number}: {problem}" for problem in problems]
        return Mapped(messages=reading.messages, problems=reading.problems[:_MAX_PROBLEMS])

    def _parts(self, reading: "_Reading") -> Iterator[Part]:
        if self._each is None:
            yield from reading.ready_parts(self._ready)
            return
        words, each, budget = "finds nothing", None, Budget(_EACH_STEPS)
        try:
            each = find(self._each, reading.payload, interpreter(reading.payload, reading.headers, budget))
        except Exhausted:
            words = "takes too long on this payload"
        reading.spent(budget, _EACH_STEPS)
        if each is None:
            reading.problems.append(f"each: {words}; the payload is one message")
            yield Part(reading.payload)
            return
        parts = [part for part in each if part is not None] if isinstance(each, list) else [each]
        if not parts:
            reading.problems.append("each: finds an empty list; there is no message")
        yield from map(Part, parts)

    def _found(self, part: Part, reading: "_Reading", problems: list[str]) -> dict[str, object]:
        """What the expressions find in a part, over what the ready mapping says of it."""
        found: dict[str, object] = dict(part.found)
        labels = dict(part.labels)
        if not self._fields and not self._labels:
            return found | {"labels": labels}
        most = min(reading.steps, _PART_STEPS)
        budget = Budget(most)
        by = interpreter(reading.payload, reading.headers, budget)
        try:
            for name, tree in self._fields.items():
                value = find(tree, part.part, by)
                budget.weigh(value)
                if value is not None:
                    found[name] = value
                elif name not in found:
                    problems.append(f"{name}: finds nothing")
            for name, tree in self._labels.items():
                value = find(tree, part.part, by)
                budget.weigh(value)
                if name == "*":
                    labels |= value if isinstance(value, dict) else {}
                elif value is not None:
                    labels[name] = value
        except Exhausted:
            problems.append("the expressions take too long; what they had found until then is told")
        reading.spent(budget, most)
        return found | {"labels": labels}


@dataclass
class _Reading:
    """One payload while it is read."""

    payload: object
    headers: dict[str, str]
    messages: list[JsonObject] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    steps: int = _STEPS
    _shown_steps: Budget = field(default_factory=lambda: Budget(_SHOWN_STEPS))
    _bytes: int = _SHOWN_BYTES
    _ids: dict[str, int] = field(default_factory=dict)  # id → how many messages were to have it

    def spent(self, budget: Budget, most: int) -> None:
        self.steps -= most - max(budget.left, 0)

    def ready_parts(self, ready: object) -> Iterator[Part]:
        if not callable(ready):
            yield Part(self.payload)
            return
        try:
            yield from ready(self.payload, self.headers)
        except Exception as error:  # a fault of ours in a ready mapping must not lose what the service said
            self.problems.append(f"the ready mapping fails on this payload: {type(error).__name__}")
            yield Part(self.payload)

    def content(self, found: object, part: object) -> str:
        """What is found as the text, or the part itself."""
        limit = max(_SMALL, min(MAX_CONTENT_BYTES, self._bytes))
        text = content_of(found, limit)
        if text is None:
            try:
                self._shown_steps.weigh(part)
                text = content_of(part, limit) or "(nothing that can be shown)"
            except Exhausted:
                text = "(too large to be shown)"
        self._bytes -= len(text)
        return text

    def add(self, message: JsonObject, found: dict[str, object]) -> None:
        """Adds the message, once for each of its receivers."""
        given = found.get("receiver")
        names = [name_of(one) for one in (given if isinstance(given, list) else [given])]
        receivers = list(dict.fromkeys(name for name in names if name is not None))
        if len(receivers) > MAX_RECEIVERS:
            self.leave_out(f"of {len(receivers)} receivers of a message only the first {MAX_RECEIVERS} are told")
        id_ = id_of(found.get("id"))
        self._bytes -= len(message["content"]) * (max(1, min(len(receivers), MAX_RECEIVERS)) - 1)  # of its copies
        for receiver in receivers[:MAX_RECEIVERS] or (None,):
            copy = dict(message)
            if receiver is not None:
                copy["receiver"] = receiver
            if id_ is not None:
                copy["id"] = self._own_id(id_ if len(receivers) < 2 else id_of(f"{id_}-{receiver}") or id_)
            self.messages.append(copy)

    def leave_out(self, words: str) -> None:
        """Says in a message too what is not told."""
        self.problems.append(words)
        self.messages.append({"content": one_line(words), "severity": "warning"})

    def _own_id(self, id_: str) -> str:
        """The id, marked where another message of this payload has it: two messages of one id would be one."""
        if id_ not in self._ids:
            self._ids[id_] = 1
            return id_
        number = self._ids[id_] + 1  # and not from 2 on: ten thousand parts may have the same
        while (own := f"{id_}~{number}") in self._ids:
            number += 1
        self._ids[id_], self._ids[own] = number, 1
        return own
