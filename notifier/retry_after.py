"""RetryAfter: how long a service asks to wait, as it says so in a header or in its answer."""

import math
import re  # for our own constant pattern
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?", re.ASCII)


def retry_after_s(told: object, at: datetime) -> float | None:
    """The seconds from `at` that `told` asks for: a number, one as a text, or a date as in HTTP (RFC 9110).

    None where it is none of them. May be zero, negative or infinite; what is made of it is decided by whoever tries again.
    """
    if isinstance(told, str):
        told = told.strip()
        if not _NUMBER.fullmatch(told):
            return _seconds_until(told, at)
        return float(told)
    if not isinstance(told, int | float) or isinstance(told, bool):
        return None
    try:
        return None if math.isnan(told) else float(told)
    except OverflowError:  # an integer that no float holds
        return math.inf if told > 0 else -math.inf


def _seconds_until(date: str, at: datetime) -> float | None:
    try:
        found = parsedate_to_datetime(date)
        return ((found if found.tzinfo is not None else found.replace(tzinfo=UTC)) - at).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
