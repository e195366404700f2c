"""Cancelling: how it is asked, on `parked` itself, that a parked delivery be given up, and how that is answered there.

    request     key `cancel <delivery id>`, no value, in the partition of the delivery; headers `cancel`, `by`
    answer      the delivery's tombstone, with the header `cancelled`: the offset of the request

One process owns a partition and reads it in order, so it alone decides: the request names the record that it means, and holds
where that is what waits when the request is read. A delivery that was released before has a tombstone without the header, or is
parked anew as another record; then the request means nothing. A program that knows no requests reads a tombstone of an unknown
key. So does compaction, which removes a request a day after it was written.

Tried and worse: a request as a record of the delivery's own key. It would take the place of the delivery, and a late answer to it
the place of one that was parked anew meanwhile, which would be lost.
"""

from typing import NamedTuple, Protocol

CANCEL = "cancel"  # header of a request: the offset of the record that is meant
BY = "by"  # header of a request: who asks, for people
CANCELLED = "cancelled"  # header of a tombstone: the offset of the request that it answers
_KEY = b"cancel "  # before the id
KEY_ERRORS = "surrogateescape"  # keys that are not UTF-8 come back as they were


class _Record(Protocol):
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def offset(self) -> int: ...


class Request(NamedTuple):
    """A request as it was read."""

    delivery: str  # id
    cancels: int  # offset of the delivery's record
    by: str  # for people
    offset: int  # its own

    @classmethod
    def of(cls, record: _Record, headers: dict[str, bytes | None]) -> "Request | None":
        """The request that a record holds; None where it holds none."""
        meant, key = headers.get(CANCEL), record.key or b""
        if record.value is not None or meant is None or not meant.isdigit() or not key.startswith(_KEY):
            return None
        by = (headers.get(BY) or b"").decode(errors="replace")
        delivery = key.removeprefix(_KEY).decode(errors=KEY_ERRORS)
        return cls(delivery, int(meant[:20]), by[:200], record.offset)


def request_key(delivery: str) -> bytes:
    """The key of a request to cancel a delivery."""
    return _KEY + delivery.encode(errors=KEY_ERRORS)


def request_headers(cancels: int, by: str) -> list[tuple[str, bytes]]:
    """The headers of a request to cancel the record of that offset."""
    return [(CANCEL, b"%d" % cancels), (BY, by.encode(errors="replace"))]
