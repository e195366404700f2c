"""Mapping: which part of a payload is which field of a message, as people declare it. Applying it is `payload_mapping`'s."""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

from notifier.absent import Written
from notifier.outcome import Severity
from producers.payload_mapping.expression import ExpressionText
from producers.payload_mapping.ready import ReadyName

MAX_LABELS = 64
_LabelName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
_Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100)]


def _spelt(value: Any) -> Any:
    return value.strip().lower().replace("-", "_") if isinstance(value, str) else value  # Uptime-Kuma


class Mapping(Written):
    """Which part of a payload is which field of a message: JMESPath (https://jmespath.org) for each.

    `{"each": "alerts", "content": "annotations.summary", "severity": "labels.level", "severities": {"page": "critical"}}`

    An expression that finds nothing leaves its field out. Where `content` finds nothing, the payload itself is the content.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ready: Annotated[ReadyName, BeforeValidator(_spelt, json_schema_input_type=ReadyName)] | None = Field(
        None, description="A ready mapping to begin with. The other fields replace what it says, part by part."
    )
    each: ExpressionText | None = Field(
        None, description="A list, each member of which is a message of its own; the other expressions look into it."
    )
    content: ExpressionText | None = Field(None, description="The text.")
    title: ExpressionText | None = Field(None, description="A short line above the content.")
    receiver: ExpressionText | None = Field(
        None, description="Who is told, a name in the producer's world; a list of names: each of them. None: everyone."
    )
    sender: ExpressionText | None = Field(None, description="Who caused it, a name in the producer's world.")
    severity: ExpressionText | None = Field(None, description="How bad it is, as one of ours or by `severities`.")
    url: ExpressionText | None = Field(None, description="A web link that says more.")
    id: ExpressionText | None = Field(
        None, description="What makes the same thing recognisable when it comes again; name its state in it."
    )
    occurred_at: ExpressionText | None = Field(
        None, description="When it happened: RFC 3339, or seconds or milliseconds since 1970."
    )
    labels: Annotated[dict[_LabelName, ExpressionText], Field(max_length=MAX_LABELS)] = Field(
        default_factory=dict,
        description="Label to what it says. Of an object that `*` finds, each member is a label.",
    )
    severities: Annotated[dict[_Word, Severity], Field(max_length=100)] = Field(
        default_factory=dict, description="Word of the service to a severity of ours; case does not matter."
    )


def _named(value: Any) -> Any:
    return {"ready": value} if isinstance(value, str) else value


# A parameter: the name of a ready mapping, or a mapping.
NamedMapping: TypeAlias = Annotated[Mapping, BeforeValidator(_named, json_schema_input_type=ReadyName | Mapping)]
