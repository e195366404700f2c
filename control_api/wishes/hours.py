"""Hours: a working time as a person writes it in a chat, as the field `working_time` of a user."""

import re  # for our own constant patterns

from notifier.record import JsonObject
from notifier.working_time import DAYS

USAGE = "Write for example: /hours 09:00-18:00 mon-fri Europe/Moscow, or: /hours always"
_CLOCK = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))? ?[-\u2013\u2014] ?([0-9]{1,2})(?::([0-9]{2}))?")
_ALWAYS = ("always", "всегда")


class NotUnderstood(ValueError):
    """The text is no working time."""


def hours_of(text: str, before: JsonObject | None) -> JsonObject | None:
    """The working time; None for `always`. Days and zone that are left out stay as they are in `before`.

    Whether it is a time of day, and a zone that there is, is for the definition's own checks to say. Raises NotUnderstood.
    """
    if text.strip().lower() in _ALWAYS:
        return None
    clock = _CLOCK.match(text.strip())
    if clock is None:
        raise NotUnderstood
    kept = {name: value for name, value in (before or {}).items() if name in ("days", "timezone")}
    found: JsonObject = {**kept, "start": _time(clock[1], clock[2]), "end": _time(clock[3], clock[4])}
    for word in text.strip()[clock.end() :].split():
        days = _days(word.lower().strip(","))
        if days is not None:
            found["days"] = days
        elif "/" in word or word.upper() == "UTC":
            found["timezone"] = word
        else:
            raise NotUnderstood
    return found


def _time(hour: str, minute: str | None) -> str:
    return f"{int(hour):02}:{minute or '00'}"


def _days(word: str) -> list[str] | None:
    """The days of `mon-fri` or `mon,wed`; None where the word is none."""
    found: set[int] = set()
    for part in word.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last and last not in DAYS):
            return None
        start, end = DAYS.index(first), DAYS.index(last or first)
        found.update(range(start, end + 1) if start <= end else {*range(start, 7), *range(end + 1)})
    return [DAYS[number] for number in sorted(found)]
