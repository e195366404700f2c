"""Part: what a ready mapping takes as one message of a payload, and what it found there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Part:
    """A part of a payload. What is found may be anything; `fitting` makes it fit."""

    part: object  # what expressions look into, and what is shown where no text is found
    found: Mapping[str, object] = field(default_factory=dict)  # field of Message → what is found, but for labels
    labels: Mapping[str, object] = field(default_factory=dict)


Parts: TypeAlias = Iterable[Part]
