"""Bounds: which times and numbers may come in. The one place that says so, for records and for what people write.

Times lie in the years 1970 to 9000. Some valid RFC 3339 times at the ends of the calendar, such as
9999-12-31T23:59:59-05:00, have no UTC equivalent in Python: storing, comparing or adding to one raises. Numbers fit the database
columns that keep them. Names and ids leave room in a record that repeats them.
"""

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import msgspec
from pydantic import AfterValidator, AwareDatetime

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9001, 1, 1, tzinfo=UTC)  # the first moment that is too late
GO_ZERO = datetime(1, 1, 1, tzinfo=UTC)  # what Go writes for a time that is absent
OUT_OF_RANGE = "must lie in the years 1970 to 9000"

# Of records. A number out of range makes a record invalid, also one that another Kafka client wrote.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]  # counted from 1
Large: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # offsets and revisions
Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=512)]  # a name, or the id of a message
# Five words, percent-encoded; a record holds it twice.
DeliveryId: TypeAlias = Annotated[str, msgspec.Meta(max_length=16_384)]


def in_range(time: datetime) -> bool:
    """Whether a time with a zone may come in. Comparing fails for no time, whatever its year and zone."""
    return FIRST <= time < END


def _check(time: datetime) -> datetime:
    if not in_range(time):
        raise ValueError(OUT_OF_RANGE)
    return time


BoundedTime: TypeAlias = Annotated[AwareDatetime, AfterValidator(_check)]  # of a request
