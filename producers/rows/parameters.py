"""Row parameters: which column is which field of a message, and how many rows a run tells."""

import re  # for our own constant pattern
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints

from notifier import Parameters
from notifier.outcome import Severity

MAX_ROWS = 100_000
MAX_LABELS = 64

FieldName: TypeAlias = Literal[
    "content",
    "title",
    "receiver",
    "sender",
    "severity",
    "url",
    "id",
    "labels",
    "occurred_at",
    "not_before",
    "expires_at",
]
_Column: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_LabelName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
_Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100)]
PLACE = re.compile(r"\{\{|\}\}|\{([^{}]{1,200})\}|[{}]")  # of a column in a text


def _check_text(text: str) -> str:
    for found in PLACE.finditer(text):
        if found[0] in ("{", "}"):
            raise ValueError(
                "has a brace without the other one: write a column as {name}, and a brace itself as {{ or }}"
            )
    return text


_Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=10_000), AfterValidator(_check_text)]


class RowParameters(Parameters):
    """Parameters of producers that make a message of each row."""

    columns: dict[FieldName, _Column] = Field(
        default_factory=dict,
        description="Field of a message to the column that says it. Columns that are named as a field say it by themselves;"
        " without any for `content` that is the whole row.",
        examples=[{"receiver": "owner", "content": "text"}],
    )
    texts: dict[FieldName, _Text] = Field(
        default_factory=dict,
        description="Field of a message to a text with columns in it, in place of one column.",
        examples=[{"content": "{host} has {free_gb} GB left", "url": "https://inventory.example/hosts/{id}"}],
    )
    labels: Annotated[dict[_LabelName, _Column], Field(max_length=MAX_LABELS)] = Field(
        default_factory=dict, description="Label to the column that says it.", examples=[{"team": "owner_team"}]
    )
    severities: Annotated[dict[_Word, Severity], Field(max_length=100)] = Field(
        default_factory=dict, description="Word of the column to a severity of ours; case does not matter."
    )
    limit: int = Field(1000, ge=1, le=MAX_ROWS, description="Rows that a run tells at most.")
    cursor_column: _Column | None = Field(
        None,
        description="Column that grows, such as a number or a time: a run tells only rows that come after those told before,"
        " in its order. Absent: each run tells all rows.",
        examples=["id"],
    )
