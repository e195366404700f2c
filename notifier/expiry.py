"""Expiry: the moment from which a message is too old to be sent. A message, a configuration and a consumer may each set one."""

from datetime import datetime, timedelta

from notifier.record import kafka_time, rfc3339


def expiry(expires_at: datetime | None, written_at: datetime, *ttls_s: float | None) -> datetime | None:
    """The earliest of a moment and of lifetimes that began at another; None where there are none."""
    earliest = expires_at
    for ttl_s in ttls_s:
        if ttl_s is not None:
            end = written_at + timedelta(seconds=ttl_s)
            earliest = end if earliest is None else min(earliest, end)
    return earliest


def shortest(*ttls_s: float | None) -> float | None:
    """The shortest of some lifetimes; None where there are none."""
    return min((ttl_s for ttl_s in ttls_s if ttl_s is not None), default=None)


def written_at(timestamp_ms: int | None, at: datetime) -> datetime:
    """When a record was written, by its Kafka timestamp; `at`, the present moment, where that is later or is none."""
    time = kafka_time(timestamp_ms)
    return at if time is None else min(time, at)


def expired_text(consumer: str, expires_at: datetime) -> str:
    """Why a consumer does not deliver something, for people."""
    return f"it expired: {consumer} was not to deliver it after {rfc3339(expires_at)}"
