"""Mutes: until when somebody wants to hear nothing, as a button or a command says it, on that person's own clock."""

import re  # for our own constant patterns
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from notifier import User
from notifier.wall_clock import moment_of

USUAL = timedelta(hours=1)
MOST = timedelta(days=90)
_MORNING = time(9)  # of somebody without working time
_SPAN = re.compile(r"([0-9]{1,4}) ?(m|min|h|d|мин|м|ч|д)")
_UNITS = {"m": "minutes", "min": "minutes", "мин": "minutes", "м": "minutes"}
_UNITS |= {"h": "hours", "ч": "hours", "d": "days", "д": "days"}


def until_of(text: str, user: User, at: datetime) -> datetime | None:
    """The end of a mute that somebody asks for at a moment: `30m`, `2h`, `3d`, `tomorrow`, or nothing for an hour.

    None where the text says nothing of the kind, or more than 90 days.
    """
    text = text.strip().lower()
    if text in ("tomorrow", "завтра"):
        return tomorrow(user, at)
    found = _SPAN.fullmatch(text)
    span = USUAL if not text else None if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})
    return at + span if span is not None and timedelta() < span <= MOST else None


def tomorrow(user: User, at: datetime) -> datetime:
    """When the person's next day begins: with the working time, or at nine."""
    start = user.working_time.start if user.working_time is not None else _MORNING
    zone = _zone(user)
    return moment_of(datetime.combine(at.astimezone(zone).date() + timedelta(days=1), start), zone)


def shown(user: User, until: datetime) -> str:
    """`2026-11-30 09:00 (Europe/Moscow)`."""
    zone = _zone(user)
    return f"{until.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key})"


def _zone(user: User) -> ZoneInfo:
    return ZoneInfo(user.working_time.timezone if user.working_time is not None else "UTC")
