"""ScheduleSpec: what people write about when a configuration runs. When that is, is `notifier.schedule`'s."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, model_validator

from notifier.cron import DAY, HOUR, MINUTE, MONTH, WEEKDAY, check_cron, faults_of, read_cron
from notifier.definition.names import Zone
from notifier.definition.spec import Spec, is_written
from notifier.record import JsonObject
from notifier.schedule import Schedule


def _check_cron(text: str, info: ValidationInfo) -> str:
    (check_cron if is_written(info) else read_cron)(text)
    return text


_EVERY_MINUTE = "* * * * *"
# The predecessor's five fields and their places in a cron expression; its sixth is `timezone`.
_FIELDS = {field.name: field for field in (MINUTE, HOUR, DAY, MONTH, WEEKDAY)}


def _cron_of(fields: Mapping[str, str]) -> str:
    return " ".join(fields.get(name, "*") for name in _FIELDS)


def _is_field(name: str, text: str, written: bool) -> bool:
    return len(text.split()) == 1 and not faults_of(_FIELDS[name], text, written=written)


def _check_field(text: str, info: ValidationInfo) -> str:
    if len(text.split()) != 1:
        raise ValueError("must be one field of a cron expression, without spaces")
    assert info.field_name is not None
    faults = faults_of(_FIELDS[info.field_name], text, written=is_written(info))
    if faults:
        raise ValueError(f"{text[:200]!r} is not the {info.field_name} of a cron expression: {'; '.join(faults)}")
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
    def _one_expression(cls, value: Any, info: ValidationInfo) -> Any:
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
        if all(isinstance(one, str) and _is_field(name, one, is_written(info)) for name, one in texts.items()):
            return {**rest, "cron": _cron_of(texts)}
        return {**rest, **texts, "cron": _EVERY_MINUTE}

    def value(self) -> Schedule:
        """The schedule itself."""
        return Schedule(self.cron, self.timezone)
