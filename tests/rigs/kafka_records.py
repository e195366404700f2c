"""Records of Kafka as a client hands them over, without a broker."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord

WRITTEN_AT = datetime(2026, 11, 29, 10, tzinfo=UTC)


def a_record(value: Any, headers: Sequence[tuple[str, bytes | None]] = (), offset: int = 7) -> ConsumerRecord:
    """The record at that offset of partition 3 of `others`; what is neither bytes nor None is written as JSON."""
    data = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return ConsumerRecord(
        topic="others",
        partition=3,
        offset=offset,
        timestamp=int(WRITTEN_AT.timestamp() * 1000),
        timestamp_type=0,
        key=None,
        value=data,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=tuple(headers),
    )
