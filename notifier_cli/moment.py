"""Moment: a time as people write it in an option."""

from datetime import UTC, datetime

import click
from pydantic import TypeAdapter, ValidationError

from notifier.bounds import FIRST, BoundedTime
from notifier.record import now

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME: TypeAdapter[datetime] = TypeAdapter(BoundedTime)


class Moment(click.ParamType):
    """So long ago (24h, 7d), or a time in RFC 3339."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        if text[-1:] in _UNITS and text[:-1].isdecimal() and len(text) < 10:
            ago = int(text[:-1]) * _UNITS[text[-1]]
            return datetime.fromtimestamp(max(FIRST.timestamp(), now().timestamp() - ago), UTC)
        try:
            return _TIME.validate_python(text)
        except ValidationError:
            self.fail(f"{text!r} is no time; write 24h, 7d or 2026-11-28T09:00:00Z", param, ctx)
