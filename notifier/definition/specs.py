"""Definitions: what people write (users, scripts, producers, filters, consumers, configurations), and its record.

The models below are the one schema of YAML, REST, GraphQL and the `definitions` topic. A plugin's own parameters are
checked by its `Parameters` model (`notifier.registry`); whether the names that a configuration refers to exist is
checked where all definitions are known (`control_api`).
"""

import json
import re  # for our own constant patterns; never for a person's
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from croniter import CroniterBadDateError, croniter
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_serializer,
    model_validator,
)

from notifier.errors import FieldError, InputError
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject, Record
from notifier.schedule import NICKNAMES, Schedule
from notifier.validation import validated
from notifier.working_time import DAYS, Day, WorkingTime

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
USERNAME_PATTERN = r"^[\w@.+-]{1,150}$"
MAX_SCRIPT_BYTES = 256 * 1024
MAX_SPEC_BYTES = 700_000  # of a spec as JSON; sealing makes a third more of secrets, and a record may have 1 MiB

_NAME_RULE = "1 to 63 lower-case letters, digits and hyphens, not at the ends"
_USERNAME_RULE = "1 to 150 letters, digits and the signs @ . + - _"


def _has_form(pattern: str, rule: str) -> AfterValidator:
    # Pydantic's own check of a pattern answers with the pattern, which not everybody reads.
    form = re.compile(pattern.removeprefix("^").removesuffix("$"))

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"must be {rule}; got {text[:200]!r}")
        return text

    return AfterValidator(check)


Name = Annotated[
    str, _has_form(NAME_PATTERN, _NAME_RULE), Field(json_schema_extra={"pattern": NAME_PATTERN, "maxLength": 63})
]
Username = Annotated[
    str,
    _has_form(USERNAME_PATTERN, _USERNAME_RULE),
    Field(json_schema_extra={"pattern": USERNAME_PATTERN, "maxLength": 150}),
]
Title = Annotated[str, StringConstraints(max_length=200)]


class Definition(Record, frozen=True, kw_only=True):
    """A definition as it lies on `definitions`, keyed `<kind>/<name>`. Secrets in `spec` are sealed. Deleted: a tombstone.

    `revision` is the number of the change that wrote it: one database transaction, one revision, one Kafka transaction.
    """

    kind: Kind
    name: str
    revision: int
    spec: JsonObject


def definition_key(kind: Kind, name: str) -> str:
    """`<kind>/<name>`."""
    return f"{kind}/{name}"


@lru_cache(maxsize=1000)
def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; "" and "../x" are ValueErrors
        raise ValueError(f"{name[:200]!r} is not a time zone; write an IANA name such as Europe/Berlin") from None
    return name


Zone = Annotated[str, AfterValidator(_check_zone)]


MAX_CRON_CHARACTERS = 500
_RANDOM = re.compile(r"(?:^|[\s,])[Rr](?:$|[\s,/(])")
_ANY_TIME = datetime(2026, 1, 1)  # noqa: DTZ001 - croniter is given wall-clock times


@lru_cache(maxsize=1000)
def _check_cron(text: str) -> str:
    if len(text) > MAX_CRON_CHARACTERS:
        raise ValueError(f"is longer than {MAX_CRON_CHARACTERS} characters; use ranges and steps")
    if text.startswith("@"):
        if text not in NICKNAMES:
            raise ValueError(f"{text!r} is not a nickname; known are @hourly, @daily, @weekly, @monthly and @yearly")
        return text
    fields = len(text.split())
    if fields not in (5, 6):
        raise ValueError(f"a cron expression has five fields, or six with seconds first; this one has {fields}")
    if not croniter.is_valid(text, second_at_beginning=fields == 6):
        raise ValueError(f"{text!r} is not a cron expression")
    if _RANDOM.search(text):
        # croniter draws a new time at each question, and then no two programs agree when a run is due.
        raise ValueError(f"{text!r} leaves a field to chance (R), which is not possible here; write the time")
    try:
        croniter(text, _ANY_TIME, second_at_beginning=fields == 6).get_next()
    except CroniterBadDateError:
        raise ValueError(f"{text!r} is a date that never comes") from None
    return text


class _Spec(BaseModel):
    """What all definitions have in common: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class WorkingTimeSpec(_Spec):
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


def _check_json(value: JsonObject) -> JsonObject:
    # Records are written by msgspec and columns by json: one takes dates, and the other makes a text of a key that is null.
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        msgspec.json.encode(value)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except (TypeError, ValueError, OverflowError) as error:  # a lone surrogate is a ValueError too
        raise ValueError(f"cannot be written as JSON ({error}); put dates and other values in quotes") from None
    return value


AnyObject = Annotated[JsonObject, AfterValidator(_check_json)]


def _check_worlds(info: JsonObject) -> JsonObject:
    for world, value in info.items():
        identities = value if isinstance(value, list) else [value]
        if not all(isinstance(identity, dict) for identity in identities):
            raise ValueError(
                f'the world {world!r} must hold an object such as {{"username": "alice"}}, or a list of them'
            )
    return info


class UserSpec(_Spec):
    """A person."""

    on_leave: bool = Field(
        False, description="Whether the person is away; then nothing that asks for working people is sent."
    )
    working_time: WorkingTimeSpec | None = Field(None, description="When the person works; absent: always.")
    additional_info: Annotated[AnyObject, AfterValidator(_check_worlds)] = Field(
        default_factory=dict,
        description="Names and addresses by world.",
        examples=[{"github": {"username": "octocat"}, "telegram": {"username": "alice", "id": 123}}],
    )


def _check_content(text: str) -> str:
    if len(text.encode()) > MAX_SCRIPT_BYTES:
        raise ValueError(f"is larger than {MAX_SCRIPT_BYTES // 1024} KiB; a script may read what it needs from files")
    if "\0" in text:
        raise ValueError("holds a NUL character, which no script may; is it a program file?")
    return text


class ScriptSpec(_Spec):
    """A script that producers or consumers of type `script` run in the sandbox."""

    title: Title | None = Field(None, description="What people call it.")
    executor: Literal["python", "bash"] = Field("bash", description="What runs it.")
    content: Annotated[str, StringConstraints(min_length=1), AfterValidator(_check_content)] = Field(
        description=f"The text of the script, at most {MAX_SCRIPT_BYTES // 1024} KiB of UTF-8."
    )


class PluginSpec(_Spec):
    """A producer, filter or consumer: a plugin type with its parameters."""

    title: Title | None = Field(None, description="What people call it.")
    type: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="Name of the plugin type."
    )
    parameters: AnyObject = Field(default_factory=dict, description="The parameters of that type; see `plugins`.")


# The predecessor's five fields and their places in a cron expression; its sixth is `timezone`.
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def _cron_of(fields: Mapping[str, str]) -> str:
    return " ".join(fields.get(name, "*") for name in _FIELDS)


def _check_field(text: str, info: ValidationInfo) -> str:
    if len(text.split()) != 1:
        raise ValueError("must be one field of a cron expression, without spaces")
    assert info.field_name is not None
    try:
        _check_cron(_cron_of({info.field_name: text}))
    except ValueError:
        raise ValueError(f"{text[:200]!r} is not the {info.field_name} of a cron expression") from None
    return text


_Field = Annotated[str, AfterValidator(_check_field)]


def _either_cron_or_fields(schema: JsonObject) -> None:
    schema.pop("required", None)
    schema["anyOf"] = [{"required": [name]} for name in ("cron", *_FIELDS)]


class ScheduleSpec(_Spec):
    """When a configuration runs: `cron`, or the fields `minute` to `day_of_week`, of which at least one, which become `cron`.

    `{"minute": "*/10", "hour": "9-18", "timezone": "Europe/Moscow"}` is `{"cron": "*/10 9-18 * * *", …}`. As in every cron
    expression, a day of the month and a day of the week that are both given mean either.
    """

    model_config = ConfigDict(json_schema_extra=_either_cron_or_fields)

    cron: Annotated[str, AfterValidator(_check_cron)] = Field(
        description="Five fields, or six with seconds first, or a nickname.", examples=["*/10 9-18 * * mon-fri"]
    )
    timezone: Zone = Field("UTC", description="IANA name of the zone on whose clock it runs.")
    missed: Literal["none", "last", "all"] = Field("last", description="Which due times are made up for after a stop.")
    minute: _Field | None = Field(None, exclude=True, description="Instead of `cron`; absent: `*`.")
    hour: _Field | None = Field(None, exclude=True, description="Instead of `cron`; absent: `*`.")
    day_of_month: _Field | None = Field(None, exclude=True, description="Instead of `cron`; absent: `*`.")
    month_of_year: _Field | None = Field(None, exclude=True, description="Instead of `cron`; absent: `*`.")
    day_of_week: _Field | None = Field(None, exclude=True, description="Instead of `cron`; absent: `*`.")

    @model_validator(mode="before")
    @classmethod
    def _one_expression(cls, value: Any) -> Any:
        """Writes the fields as `cron` and takes them out; one that is wrong stays, to be named by its own check."""
        if not isinstance(value, dict):
            return value
        given = {name: value[name] for name in _FIELDS if value.get(name) is not None}
        rest = {name: one for name, one in value.items() if name not in _FIELDS}
        if not given:
            return rest
        if rest.get("cron") is not None:
            raise ValueError(f"has `cron` and {', '.join(f'`{name}`' for name in given)}: write one or the other")
        # YAML reads `minute: 0` as a number.
        texts = {
            name: (str(one) if isinstance(one, int) and not isinstance(one, bool) else one)
            for name, one in given.items()
        }
        if not all(isinstance(one, str) for one in texts.values()):
            return {**rest, **texts, "cron": "* * * * *"}
        texts = {name: one.strip() for name, one in texts.items()}
        try:
            for name, one in texts.items():
                if len(one.split()) != 1:
                    raise ValueError
                _check_cron(_cron_of({name: one}))
        except ValueError:
            return {**rest, **texts, "cron": "* * * * *"}
        return {**rest, "cron": _cron_of(texts)}

    def value(self) -> Schedule:
        """The schedule itself."""
        return Schedule(self.cron, self.timezone)


def _check_unique(names: Sequence[str]) -> Sequence[str]:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"{', '.join(twice)} {'is' if len(twice) == 1 else 'are'} named twice")
    return names


Names = Annotated[tuple[Name, ...], AfterValidator(_check_unique)]


class ConfigurationSpec(_Spec):
    """Whose messages go through which filters to which users by which consumers, and when."""

    title: Title | None = Field(None, description="What people call it.")
    users: Annotated[tuple[Username, ...], AfterValidator(_check_unique)] = Field((), description="Who may be told.")
    producers: Names = Field((), description="Whose messages are considered.")
    filters: Names = Field((), description="What they must pass, in this order.")
    consumers: Names = Field((), description="How they are delivered.")
    schedule: ScheduleSpec | None = Field(None, description="When its pull producers run; absent: only by hand.")
    template: Annotated[str, StringConstraints(max_length=20_000)] | None = Field(
        None, description="Text of a delivery as a Jinja template; absent: the consumer's default text."
    )
    enabled: bool = Field(True, description="Whether it takes part.")


SPECS: dict[Kind, type[_Spec]] = {
    "user": UserSpec,
    "script": ScriptSpec,
    "producer": PluginSpec,
    "filter": PluginSpec,
    "consumer": PluginSpec,
    "configuration": ConfigurationSpec,
}
assert tuple(SPECS) == KINDS


def check_name(kind: Kind, name: object) -> str:
    """The name, if one of that kind may have it. Raises InputError."""
    pattern = USERNAME_PATTERN if kind == "user" else NAME_PATTERN
    if isinstance(name, str) and re.fullmatch(pattern.removeprefix("^").removesuffix("$"), name):
        return name
    field = "username" if kind == "user" else "name"
    rule = _USERNAME_RULE if kind == "user" else _NAME_RULE
    raise InputError(FieldError(f"/{field}", f"must be {rule}; got {str(name)[:200]!r}"))


def read_spec(kind: Kind, value: Any) -> _Spec:
    """Checks what a person wrote against the kind's model. Raises InputError that names every field."""
    spec = validated(SPECS[kind], value)
    # What is too large for a record of `definitions` could be stored, and would then hold up whatever is published after it.
    size = len(spec.model_dump_json(exclude_unset=True).encode())
    if size > MAX_SPEC_BYTES:
        raise InputError(FieldError("", f"is too large: {size} bytes of JSON, {MAX_SPEC_BYTES} are possible; split it"))
    return spec
