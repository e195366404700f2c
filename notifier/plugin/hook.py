"""Hook: what a service sends to `/hooks/{door}/{producer}`, and what a producer makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from notifier.record import JsonObject


@dataclass(frozen=True, kw_only=True)
class Hook:
    """One request of a service. Who sent it is checked already."""

    door: str  # the word in the address, such as `json`
    payload: Any  # the body as JSON; a text where it is none and came as one
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case; no credentials are among them
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Received:
    """What a producer made of a hook."""

    # JSON objects with the fields of Message, all but `producer`. One with an `id` is recognised when it comes again.
    messages: Sequence[JsonObject] = ()
    detail: str | None = None  # what the answer says beside their number, such as why there are none
