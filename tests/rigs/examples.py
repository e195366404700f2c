"""Values that tests of many parts need."""

from datetime import UTC, datetime

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # a Monday
OFFICE = {"start": "09:00", "end": "18:00", "days": ["mon", "fri"], "timezone": "Europe/Berlin"}
