"""Payloads as services send them, nearly whole, each with the messages that its ready mapping makes of it."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "producers/payload_mapping/samples"
ABSENT = object()
# What may stand in place of any part: null, another type, empty, beyond limits, and what cannot be written as UTF-8.
ODD: tuple[Any, ...] = (
    ABSENT,
    None,
    True,
    0,
    -1.5,
    float("nan"),
    10**400,
    "",
    " \n",
    "x",
    "y" * 3000,
    "\ud800\0",
    [],
    [None],
    [[]],
    {},
    {"a": None},
    {"\ud800": {"b": []}},
)


class Sample(NamedTuple):
    """A payload, and what becomes of it."""

    name: str
    mapping: str
    headers: dict[str, str]
    payload: Any
    messages: list[dict[str, Any]]


def samples() -> list[Sample]:
    """All of them, by name."""
    return [Sample(path.stem, **json.loads(path.read_text(encoding="utf-8"))) for path in sorted(FOLDER.glob("*.json"))]


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of each part of a payload, the whole first."""
    yield place
    if isinstance(value, dict):
        for name, part in value.items():
            yield from places(part, (*place, name))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from places(part, (*place, position))


def altered(payload: Any, place: tuple[str | int, ...], odd: Any) -> Any:
    """The payload with something odd at a place, or with nothing there."""
    if not place:
        return None if odd is ABSENT else odd
    changed = copy.copy(payload)
    if len(place) > 1:
        changed[place[0]] = altered(payload[place[0]], place[1:], odd)
    elif odd is ABSENT:
        del changed[place[0]]
    else:
        changed[place[0]] = odd
    return changed
