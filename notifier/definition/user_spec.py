"""UserSpec: what people write about a person. The value that it becomes is `notifier.user`'s."""

import re  # for our own constant patterns; never for a person's
from datetime import time
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_serializer

from notifier.bounds import BoundedTime
from notifier.definition.definition_spec import DefinitionSpec
from notifier.definition.names import Zone
from notifier.definition.spec import AnyObject, Spec
from notifier.errors import FieldError
from notifier.language import USUAL_LANGUAGE, Language
from notifier.pointer import pointer
from notifier.record import JsonObject
from notifier.working_time import DAYS, Day, WorkingTime


def _check_clock(value: Any) -> Any:
    # YAML reads an unquoted 18:00 as the number 1080, and Pydantic would take a number for seconds: 00:18.
    if not isinstance(value, str | time) or (isinstance(value, time) and value.tzinfo is not None):
        raise ValueError('must be a time of day as text; write it in quotes: "18:00"')
    if isinstance(value, str) and not _CLOCK.fullmatch(value):
        raise ValueError('must be a time of day without a zone, from "00:00" to "23:59"; the zone is `timezone`')
    return value


def _check_days(value: Any) -> Any:
    # Pydantic's `min_length` counts only what is right, and so complains twice about one wrong day.
    if isinstance(value, list | tuple) and not value:
        raise ValueError("needs at least one day; leave `working_time` out for somebody who always works")
    return value


_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")
Clock = Annotated[time, BeforeValidator(_check_clock)]


class WorkingTimeSpec(Spec):
    """When a user works: [start, end) on the given days, on the clock of the zone."""

    start: Clock = Field(description="Start of the window, as HH:MM.", examples=["09:00"])
    end: Clock = Field(
        description="End of the window, not included; earlier than the start: over midnight.", examples=["18:00"]
    )
    days: Annotated[tuple[Day, ...], BeforeValidator(_check_days)] = Field(
        DAYS, description="Days on which a window starts.", json_schema_extra={"minItems": 1}
    )
    timezone: Zone = Field("UTC", description="IANA name of the zone.", examples=["Europe/Moscow"])

    @field_serializer("start", "end")
    def _clock(self, value: time) -> str:
        return value.isoformat("minutes" if not value.second and not value.microsecond else "seconds")

    def value(self) -> WorkingTime:
        """The working time itself."""
        return WorkingTime(start=self.start, end=self.end, days=frozenset(self.days), timezone=self.timezone)


def _check_worlds(info: JsonObject) -> JsonObject:
    for world, value in info.items():
        identities = value if isinstance(value, list) else [value]
        if not all(isinstance(identity, dict) for identity in identities):
            raise ValueError(
                f'the world {world!r} must hold an object such as {{"username": "alice"}}, or a list of them'
            )
    return info


def faults_of_identities(written: object) -> list[FieldError]:
    """What is wrong with the names in the worlds of a user or group as written. YAML reads 1e5, 123 and true as no text."""
    info = written.get("additional_info") if isinstance(written, dict) else None
    faults = []
    for world, value in info.items() if isinstance(info, dict) else ():
        for position, identity in enumerate(value if isinstance(value, list) else [value]):
            place = [world, position] if isinstance(value, list) else [world]
            if not isinstance(identity, dict):
                continue
            for field, words in _IDENTITY.items():
                if field in identity and not _is_name(identity[field], or_number=field == "id"):
                    faults.append(FieldError(pointer(["additional_info", *place, field]), words))
    return faults


Worlds = Annotated[AnyObject, AfterValidator(_check_worlds)]

_IDENTITY = {
    "username": "must be text; put it in quotes",
    "id": "must be a whole number or text; put a text in quotes",
}


def _is_name(value: object, *, or_number: bool) -> bool:
    return isinstance(value, str) or (or_number and isinstance(value, int) and not isinstance(value, bool))


class UserSpec(DefinitionSpec):
    """A person."""

    on_leave: bool = Field(
        False, description="Whether the person is away; then nothing that asks for working people is sent."
    )
    working_time: WorkingTimeSpec | None = Field(None, description="When the person works; absent: always.")
    language: Language = Field(
        USUAL_LANGUAGE, description="Language of the words around what a message says, and of dates."
    )
    muted_until: BoundedTime | None = Field(
        None, description="Until when nothing is sent to the person's own addresses: `suppressed: muted`."
    )
    muted: Annotated[dict[str, BoundedTime], Field(max_length=1000)] = Field(
        default_factory=dict,
        description="The same of single configurations, by name.",
        examples=[{"builds": "2026-11-30T09:00:00Z"}],
    )
    additional_info: Worlds = Field(
        default_factory=dict,
        description="Names and addresses by world.",
        examples=[{"github": {"username": "octocat"}, "telegram": {"username": "alice", "id": 123}}],
    )
