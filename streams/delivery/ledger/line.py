"""Line: what the ledger takes from a record of `attempts`.

Any client may write there. What cannot be read is passed over; of a version that this program does not know, the fields that
it knows count, since to pass over what a newer program accepted would send it again.
"""

import logging
from datetime import datetime
from hashlib import blake2b
from typing import Annotated

import msgspec
from aiokafka import ConsumerRecord

from notifier.bounds import Count, DeliveryId, Large, Number, in_range
from notifier.seldom import Seldom

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

SETTLED = "settled"  # header of the attempt that ended the delivery at its origin
SPARED = "spared"  # header of every attempt: b"1" where its try did not spend the retry schedule, else b"0"
_ERROR_CHARACTERS = 200  # of a log line, which may quote the record


# A new machine reads millions of these at once. Without `gc=False` half of the time would go into looking for cycles in them.


class _Origin(msgspec.Struct, gc=False):
    topic: str
    partition: Count
    offset: Large


class _Attempt(msgspec.Struct, gc=False):
    """The fields of an Attempt that count here."""

    delivery: DeliveryId = ""
    outcome: str = ""
    reason: str = ""
    number: Number = 1
    origin: _Origin | None = None
    not_before: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    ended_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Line(msgspec.Struct, frozen=True, gc=False):
    """One try at a record of a deliveries topic. Times are in seconds since 1970."""

    id: bytes  # `digest` of the delivery's
    accepted: bool
    topic: str  # where the delivery lies
    partition: int
    offset: int
    at: float  # when the try ended
    number: int
    spared: int  # 1: it did not spend the retry schedule
    not_before: float | None  # of the next try
    told: int  # 1: the service itself asked for that wait, at its limit
    settled: int  # 1: nothing is left to do


def digest(delivery: str) -> bytes:
    """What stands for a delivery's id; 16 bytes, so that no two are ever equal by chance."""
    return blake2b(delivery.encode(), digest_size=16).digest()


_decoder = msgspec.json.Decoder(_Attempt)


def read_line(record: ConsumerRecord, topics: bytes) -> Line | None:
    """The line of a record; None where it is about none of the topics whose names begin with `topics`.

    Counters and the router's attempts have no such name in them, and cost next to nothing.
    """
    if record.value is None or topics not in record.value:
        return None
    try:
        attempt = _decoder.decode(record.value)
        times = [time for time in (attempt.ended_at, attempt.not_before) if time is not None]
        if not all(in_range(time) for time in times):
            raise ValueError("a time is out of range")
        id_ = digest(attempt.delivery)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        _seldom.log(
            logging.WARNING,
            "Offset %s of %s is not an attempt and is skipped: %s",
            record.offset,
            record.topic,
            str(error)[:_ERROR_CHARACTERS],
            extra={"action": "read_ledger"},
        )
        return None
    origin = attempt.origin
    if origin is None or not origin.topic.startswith(topics.decode()):
        return None
    headers = dict(record.headers)
    # Where the header is absent, an older program wrote the attempt: it spared every try that met a rate limit.
    spared = headers[SPARED] == b"1" if SPARED in headers else attempt.reason == "rate_limited"
    # A hold begins anew with its worker: the first call says whether the credential is refused still.
    waits = attempt.not_before is not None and attempt.reason != "unauthorized"
    return Line(
        id=id_,
        accepted=attempt.outcome == "accepted",
        topic=origin.topic,
        partition=origin.partition,
        offset=origin.offset,
        at=0.0 if attempt.ended_at is None else attempt.ended_at.timestamp(),
        number=attempt.number,
        spared=int(spared),
        not_before=attempt.not_before.timestamp() if waits and attempt.not_before else None,
        told=int(spared and attempt.reason == "rate_limited"),
        settled=int(SETTLED in headers),
    )
