"""Moment: the time that a service's value is: RFC 3339 and its near relatives, or a number since 1970. No I/O."""

import re  # for our own constant patterns
from datetime import UTC, datetime

from notifier.bounds import in_range
from notifier.record import rfc3339

_MAX_CHARACTERS = 64
_DIGITS = re.compile(r"[0-9]{9,16}(\.[0-9]{1,9})?")
_ZONE = re.compile(r" ?(UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$")
# The first number that is no time in the unit any more, and how many of the unit a second has.
_UNITS = ((10**11, 1), (10**14, 1000), (10**17, 10**6), (10**20, 10**9))


def moment(value: object) -> str | None:
    """The time as RFC 3339 in UTC; None where the value is no moment: it has no zone, or lies out of `bounds`."""
    try:
        time = _of_text(value.strip()) if isinstance(value, str) else _of_number(value)
    except (ValueError, OverflowError, OSError):
        return None
    return rfc3339(time) if time is not None and in_range(time) else None


def _of_text(text: str) -> datetime | None:
    if len(text) > _MAX_CHARACTERS:
        return None
    if _DIGITS.fullmatch(text):
        return _of_number(float(text))
    zone = _ZONE.search(text)
    if zone is not None:  # `2013-12-03 17:23:34 UTC`, `… +0100`
        text = text[: zone.start()] + (zone[1] if zone[1][0] in "+-" else "Z")
    time = datetime.fromisoformat(text)
    return None if time.utcoffset() is None else time


def _of_number(value: object) -> datetime | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 10**8:
        return None  # before 1973, and so more likely a count
    unit = next((unit for end, unit in _UNITS if value < end), None)
    return None if unit is None else datetime.fromtimestamp(value / unit, UTC)
