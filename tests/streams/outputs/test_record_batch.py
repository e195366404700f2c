"""What we write is what Kafka's other clients write and read."""

from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from streams.outputs.record_batch import OpenBatch, RecordBatch, framed

Records = list[tuple[bytes, bytes]]

_records = st.lists(
    st.tuples(st.binary(max_size=70), st.binary(max_size=200) | st.sampled_from([b"x" * 8_191, b"x" * 20_000])),
    min_size=1,
    max_size=150,
)


def batch_of(records: Records, compression: int = 0) -> RecordBatch:
    batch = OpenBatch()
    batch.began = 1_795_000_000_123
    for key, value in records:
        batch.append(framed(key), value)
    return batch.close(compression)


@given(
    records=_records,
    producer=st.tuples(st.integers(-1, 2**63 - 1), st.integers(-1, 2**15 - 1), st.integers(-1, 2**31 - 1)),
)
def test_a_batch_is_byte_for_byte_what_aiokafka_writes(records: Records, producer: tuple[int, int, int]) -> None:
    other = DefaultRecordBatchBuilder(
        2, 0, is_transactional=False, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    for place, (key, value) in enumerate(records):
        other.append(place, 1_795_000_000_123, key, value, [])
    other.set_producer_state(*producer)
    assert b"".join(batch_of(records).encode(producer)) == bytes(other.build())


@pytest.mark.parametrize("compression", range(5))
@given(records=_records)
def test_a_batch_is_read_as_it_was_written(compression: int, records: Records) -> None:
    batch = batch_of(records, compression)
    (read,) = list(_batches(b"".join(batch.encode((7, 0, 5)))))
    assert read.validate_crc()
    assert [(record.offset, record.key, record.value) for record in read] == [
        (place, *record) for place, record in enumerate(records)
    ]
    assert (read.producer_id, read.base_sequence, read.timestamp_type) == (7, 5, 0)
    assert batch.count == len(records)
    assert batch.records() == records


def _batches(data: bytes) -> list[Any]:
    found, batches = [], MemoryRecords(data)
    while batches.has_next():
        found.append(batches.next_batch())
    return found
