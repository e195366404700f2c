"""Wall clock: which moment a time on the clock of a zone is, also where the clock shows it twice or never."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment, in UTC, at which the clock of the zone shows `wall` (without a zone) or more.

    So it is the first of two where the clock is put back, and the end of the gap where it is put forward over `wall`.
    """
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    low = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if low >= moment:
        return moment
    # In a gap, fold=1 means the offset after the change and a moment before it; fold=0 the other way round.
    low, high = low.replace(microsecond=0), moment.replace(microsecond=0)
    before = low.astimezone(zone).utcoffset()
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
