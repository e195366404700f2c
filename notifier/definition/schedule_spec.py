"""ScheduleSpec: what people write about when a configuration runs. When that is, is `notifier.schedule`'s."""

import re  # for our own constant patterns; never for a person's
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from croniter import CroniterBadDateError, croniter
from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, model_validator

from notifier.definition.names import Zone
from notifier.definition.spec import Spec
from notifier.record import JsonObject
from notifier.schedule import NICKNAMES, Schedule

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


_EVERY_MINUTE = "* * * * *"
# The predecessor's five fields and their places in a cron expression; its sixth is `timezone`.
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def _cron_of(fields: Mapping[str, str]) -> str:
    return " ".join(fields.get(name, "*") for name in _FIELDS)


def _is_field(name: str, text: str) -> bool:
    if len(text.split()) != 1:
        return False
    try:
        _check_cron(_cron_of({name: text}))
    except ValueError:
        return False
    return True


def _check_field(text: str, info: ValidationInfo) -> str:
    if len(text.split()) != 1:
        raise ValueError("must be one field of a cron expression, without spaces")
    assert info.field_name is not None
    if not _is_field(info.field_name, text):
        raise ValueError(f"{text[:200]!r} is not the {info.field_name} of a cron expression")
    return text


_Field = Annotated[str, AfterValidator(_check_field)]


def _either_cron_or_fields(schema: JsonObject) -> None:
    schema.pop("required", None)
    schema["anyOf"] = [{"required": [name]} for name in ("cron", *_FIELDS)]


class ScheduleSpec(Spec):
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
        texts = {name: one.strip() if isinstance(one, str) else one for name, one in texts.items()}
        if all(isinstance(one, str) and _is_field(name, one) for name, one in texts.items()):
            return {**rest, "cron": _cron_of(texts)}
        return {**rest, **texts, "cron": _EVERY_MINUTE}

    def value(self) -> Schedule:
        """The schedule itself."""
        return Schedule(self.cron, self.timezone)
