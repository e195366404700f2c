"""Mapping: what a definition of the kind `mapping` sets of messages, before any filter sees them.

The one function that does so, `applied`, serves router, explanations, dry runs and previews. It makes a message of a message; the
record on `messages` stays as it was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from notifier.definition.mapping_spec import MappingSetSpec, MappingSpec
from notifier.errors import RecordError, RecordTooLarge
from notifier.label_matcher import LabelMatcher, read_matchers
from notifier.message import MAX_BYTES, Message
from notifier.one_line import one_line
from notifier.outcome import Severity

_FIELDS = ("labels", "title", "severity", "receiver")  # of a message, that may be set
_SHOWN = 80  # characters of a value, in words
_NAMED = 10  # values that are named in words

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_json = msgspec.json.encode
_replaced = msgspec.structs.replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is set of a message."""

    labels: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None  # none of these: stays as it is
    severity: Severity | None = None
    receiver: str | None = None

    @classmethod
    def of(cls, spec: MappingSetSpec, under: MappingSetSpec) -> "Setting":
        """What the two set together; the first goes before the second."""
        return cls(
            labels={**under.labels, **spec.labels},
            title=under.title if spec.title is None else spec.title,
            severity=spec.severity or under.severity,
            receiver=spec.receiver or under.receiver,
        )

    def changes(self, message: Message) -> dict[str, Any]:
        """The fields of the message that become others."""
        changes: dict[str, Any] = {}
        if self.labels and not self.labels.items() <= message.labels.items():
            changes["labels"] = {**message.labels, **self.labels}
        if self.severity is not None and self.severity != message.severity:
            changes["severity"] = self.severity
        if self.receiver is not None and self.receiver != message.receiver:
            changes["receiver"] = self.receiver
        if self.title is not None and self.title != message.title:
            changes["title"] = self.title
        return changes


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageMapping:
    """A mapping, ready to be applied."""

    name: str
    order: int = 0
    producers: frozenset[str] = frozenset()  # none: messages of all
    matchers: tuple[LabelMatcher, ...] = ()
    setting: Setting = Setting()
    key: str | None = None  # the label that chooses a row; none: there is no table
    rows: Mapping[str, Setting] = field(default_factory=dict)  # with `setting` in each

    @classmethod
    def of(cls, name: str, spec: MappingSpec) -> "MessageMapping":
        """The mapping that a definition describes."""
        table = spec.table
        return cls(
            name=name,
            order=spec.order,
            producers=frozenset(spec.producers),
            matchers=tuple(matcher for text in spec.matchers for matcher in read_matchers(text)),
            setting=Setting.of(spec.set, MappingSetSpec()),
            key=None if table is None else table.key,
            rows={} if table is None else {value: Setting.of(row, spec.set) for value, row in table.rows.items()},
        )

    def setting_of(self, labels: Mapping[str, str]) -> Setting | None:
        """What it sets of a message with these labels; None where they do not match."""
        for matcher in self.matchers:
            if not matcher.matches(labels):
                return None
        return self.setting if self.key is None else self.rows.get(labels.get(self.key, ""), self.setting)


Mappings = Sequence[MessageMapping]  # of one producer, in the order in which they apply


class Step(NamedTuple):
    """What one mapping made of a message."""

    mapping: str  # its name
    before: Message
    after: Message

    def values(self) -> dict[str, str]:
        """What was set: labels by `labels.NAME`, other fields by their names."""
        before, after = self.before, self.after
        labels = {f"labels.{name}": value for name, value in after.labels.items() if before.labels.get(name) != value}
        others = {name: getattr(after, name) for name in _FIELDS[1:] if getattr(before, name) != getattr(after, name)}
        return labels | others

    def words(self) -> str:
        """The same for people: `team=infra, severity=error`."""
        values = [f"{name.removeprefix('labels.')}={one_line(text, _SHOWN)}" for name, text in self.values().items()]
        more = len(values) - _NAMED
        return ", ".join(values[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def applied(mappings: Mappings, message: Message) -> tuple[Message, list[Step]]:
    """The message as the mappings of its producer make it, and the steps that changed it. Does not raise."""
    steps: list[Step] = []
    for mapping in mappings:
        setting = mapping.setting_of(message.labels)
        if setting is not None and (changes := setting.changes(message)):
            before, message = message, _replaced(message, **changes)
            steps.append(Step(mapping.name, before, message))
    return message, steps


def mapped(mappings: Mappings, message: Message, value: bytes) -> tuple[Message, bytes]:
    """As `applied`, with the message's JSON, of which everything else stays as it was written.

    Raises RecordTooLarge where the message would be larger than one may be, and RecordError where its JSON cannot be taken apart.
    """
    after, steps = applied(mappings, message)
    return (after, _written(value, message, steps)) if steps else (message, value)


def _written(value: bytes, before: Message, steps: Sequence[Step]) -> bytes:
    after = steps[-1].after
    try:
        fields = _raw_fields(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"the mapping {steps[0].mapping} cannot change it: {error}") from None
    for name in _FIELDS:
        new = getattr(after, name)
        if new != getattr(before, name):
            fields[name] = msgspec.Raw(_json(new))
    written = _json(fields)
    if len(written) > MAX_BYTES:
        names = ", ".join(dict.fromkeys(step.mapping for step in steps))
        raise RecordTooLarge(
            f"a message has at most {MAX_BYTES} bytes; with what is set by {names} this one has {len(written)}"
        )
    return written
