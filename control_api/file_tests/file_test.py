"""FileTest: one entry of `tests:` in a YAML file, read: a message, and what must become of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import Field

from control_api.definitions.documents import WrittenTest, first_of
from control_api.explain.ways import Told
from filters.decision import ProblemReason
from notifier.bounds import BoundedTime
from notifier.definition.spec import Spec
from notifier.errors import FieldError, InputError, RecordError
from notifier.message import check_message_object, check_value, read_message
from notifier.record import JsonObject
from notifier.validation import validated


class ExpectedDelivery(Spec):
    """One person who must get the message, and how."""

    recipient: str | None = Field(None, description="A username; absent: everyone, in a configuration without users.")
    consumer: str = Field(description="Name of the consumer.")


class ExpectedDrop(Spec):
    """The filter that must keep the message from everyone."""

    dropped_by: str = Field(description="Name of the filter.")


class ExpectedProblem(Spec):
    """Why no configuration must consider the message."""

    reason: ProblemReason = Field(description="The word for it.")


Expected: TypeAlias = Sequence[ExpectedDelivery] | ExpectedDrop | ExpectedProblem


class _TestSpec(Spec):
    name: str = Field(min_length=1, description="What the test shows, in words.")
    message: JsonObject
    at: BoundedTime | None = None
    configuration: str | None = None
    expect: Any


@dataclass(frozen=True, kw_only=True)
class FileTest:
    """A test. Whoever gets the message must be exactly those in `expect`, or nobody, because of that filter or problem."""

    name: str
    place: str  # file and line
    told: Told
    at: BoundedTime | None  # the moment of the decision; None: now
    configuration: str | None  # what this configuration makes of it; None: what all of them do
    expect: Expected


def read_tests(written: Sequence[WrittenTest]) -> list[FileTest]:
    """The tests. Raises InputError that names every place and field."""
    tests: list[FileTest] = []
    wrong: list[FieldError] = []
    for one in written:
        try:
            tests.append(_read(one))
        except InputError as error:
            name = one.value.get("name") if isinstance(one.value, dict) else None
            at = f"{one.place} test {name}" if isinstance(name, str) else f"{one.place} test"
            wrong += [FieldError(f"{at} {fault.pointer}".rstrip(), fault.detail) for fault in error.errors]
    if wrong:
        raise InputError(first_of(wrong))
    return tests


def _read(written: WrittenTest) -> FileTest:
    spec = validated(_TestSpec, written.value)
    return FileTest(
        name=spec.name,
        place=written.place,
        told=_told(spec.message),
        at=spec.at,
        configuration=spec.configuration,
        expect=_expected(spec.expect),
    )


def _told(message: JsonObject) -> Told:
    try:
        value = json.dumps(check_message_object(message), ensure_ascii=False, separators=(",", ":")).encode()
        read, value = read_message(check_value(value))
    except RecordError as error:
        raise InputError(FieldError("/message", str(error))) from None
    return Told(message=read, value=value, id=read.id or "test")


def _expected(expect: Any) -> Expected:
    if isinstance(expect, dict) and "reason" in expect:
        return validated(ExpectedProblem, expect, "/expect")
    if isinstance(expect, dict):
        return validated(ExpectedDrop, expect, "/expect")
    if isinstance(expect, list):
        return [validated(ExpectedDelivery, one, f"/expect/{place}") for place, one in enumerate(expect)]
    raise InputError(
        FieldError("/expect", "must be a list of {recipient, consumer}, {dropped_by: FILTER} or {reason: WORD}")
    )
