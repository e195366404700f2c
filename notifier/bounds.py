"""Bounds: which times and numbers may come in. The one place that says so, for records and for what people write.

Times lie in the years 1970 to 9000. Python has no UTC for the ends of its calendar (9999-12-31T23:59:59-05:00 is valid
RFC 3339), and whoever stores, compares or adds to such a time would fail where nobody expects it. Numbers fit the columns that
keep them, and names and ids leave room in a record that repeats them.
"""

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import msgspec
from pydantic import AfterValidator, AwareDatetime

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9001, 1, 1, tzinfo=UTC)  # the first moment that is too late
GO_ZERO = datetime(1, 1, 1, tzinfo=UTC)  # what Go writes for a time that is absent
OUT_OF_RANGE = "must lie in the years 1970 to 9000"

# Of records. A number beyond them makes a record invalid, whoever wrote it.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]  # counted from 1
Large: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # offsets and revisions
Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=512)]  # a name, or the id of a message
DeliveryId: TypeAlias = Annotated[
    str, msgspec.Meta(max_length=16_384)
]  # five words, percent-encoded; a record holds it twice


def in_range(time: datetime) -> bool:
    """Whether a time with a zone may come in. Comparing fails for no time, whatever its year and zone."""
    return FIRST <= time < END


def _check(time: datetime) -> datetime:
    if not in_range(time):
        raise ValueError(OUT_OF_RANGE)
    return time


BoundedTime: TypeAlias = Annotated[AwareDatetime, AfterValidator(_check)]  # of a request
