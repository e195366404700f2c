"""Period: a length of time as people write it, such as `15m`, `1h30m` or `90`, which are seconds."""

import re  # for our own constant pattern
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

MIN_S = 1.0
MAX_S = 30 * 24 * 3600.0
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_FORM = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,3})?)s)?", re.ASCII)
_RULE = "must be seconds, or a text such as 90s, 15m, 2h, 1h30m or 1d, from 1s to 30d"


def seconds_of(period: str) -> float:
    """The seconds of a period. Raises ValueError."""
    text = "".join(period.split()).lower()
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,3})?", text):
        text += "s"
    found = _FORM.fullmatch(text)
    if found is None or not text:
        raise ValueError(f"{_RULE}; got {period[:50]!r}")
    seconds = sum(float(number or 0) * unit for number, unit in zip(found.groups(), _UNITS.values(), strict=True))
    if not MIN_S <= seconds <= MAX_S:
        raise ValueError(f"{_RULE}; got {period[:50]!r}")
    return seconds


def _check(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    text = value if isinstance(value, str) else f"{value:.3f}".rstrip("0").rstrip(".")
    seconds_of(text)
    return text.strip()


Period: TypeAlias = Annotated[str, BeforeValidator(_check, json_schema_input_type=str | float)]
