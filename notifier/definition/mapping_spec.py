"""MappingSpec: what people write of a mapping. The value that it becomes, and what it does, are `notifier.mapping`'s."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from notifier.definition.definition_spec import DefinitionSpec
from notifier.definition.names import Names, Title
from notifier.definition.spec import Spec
from notifier.label_matcher import MatcherText
from notifier.outcome import Severity

MAX_ROWS = 10_000  # of a table
MAX_LABELS = 100  # that one mapping or row sets
MAX_ORDER = 1_000_000

LabelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
LabelValue = Annotated[str, StringConstraints(max_length=2_000)]


def _without_nulls(labels: Any) -> Any:
    """As in a message: a label that is null is not there."""
    return {name: value for name, value in labels.items() if value is not None} if isinstance(labels, dict) else labels


class MappingSetSpec(Spec):
    """What is set of a message. What it has already is replaced."""

    labels: Annotated[dict[LabelName, LabelValue], BeforeValidator(_without_nulls), Field(max_length=MAX_LABELS)] = (
        Field(default_factory=dict, description="Labels that are set; others stay.", examples=[{"team": "infra"}])
    )
    title: Annotated[str, StringConstraints(max_length=1_000)] | None = Field(None, description="The title.")
    severity: Severity | None = Field(None, description="How bad it is: debug, info, warning, error or critical.")
    receiver: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = Field(
        None, description="Who is told: a name in the producer's world.", examples=["alice", "group:ops"]
    )


class MappingTableSpec(Spec):
    """What is set by the value of a label. A row goes before what the mapping sets of all messages."""

    key: LabelName = Field(description="The label whose value chooses the row.", examples=["service"])
    rows: Annotated[dict[LabelValue, MappingSetSpec], Field(max_length=MAX_ROWS)] = Field(
        description="What is set, by the label's value.",
        examples=[{"billing": {"labels": {"team": "payments"}, "receiver": "alice"}}],
    )


class MappingSpec(DefinitionSpec):
    """Sets labels, title, severity or receiver of messages before the filters of any configuration see them."""

    title: Title | None = Field(None, description="What people call it.")
    order: Annotated[int, Field(ge=-MAX_ORDER, le=MAX_ORDER)] = Field(
        0, description="Its place among all mappings, ascending, then by name. Each sees what those before it have set."
    )
    producers: Names = Field((), description="Whose messages it looks at; none: everyone's.")
    matchers: Annotated[tuple[MatcherText, ...], Field(max_length=100)] = Field(
        (),
        description="What the labels of a message must be, all of it, as the filter `labels` has it; none: all messages.",
        examples=[["team=~infra.*"]],
    )
    set: MappingSetSpec = Field(default_factory=MappingSetSpec, description="What is set of each message that matches.")
    table: MappingTableSpec | None = Field(None, description="What is set by the value of a label.")

    @model_validator(mode="after")
    def _sets_something(self) -> "MappingSpec":
        if self.table is None and self.set == MappingSetSpec():
            raise ValueError("sets nothing; write what under `set` or `table`")
        return self
