"""What we write is what Kafka's other clients read, whatever sends it, and as often as it is sent."""

from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from streams.outputs.queue import BATCH_BYTES, Queue, Receipt
from streams.outputs.records import Output, Records

_records = st.lists(
    st.tuples(st.binary(max_size=70), st.binary(max_size=200) | st.sampled_from([b"x" * 8_191, b"x" * 20_000])),
    min_size=1,
    max_size=150,
)
_producers = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1))


@pytest.mark.parametrize("compression", range(5))
@given(given_=_records, first=_producers, second=_producers)
def test_records_are_read_as_they_were_written(
    compression: int, given_: list[Output], first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    records = Records([key for key, _ in given_], [value for _, value in given_], compression)
    for producer in (first, second):
        (read,) = list(_batches(bytes(records.encode(producer))))
        assert read.validate_crc()
        assert [(record.offset, record.key, record.value) for record in read] == [
            (place, *record) for place, record in enumerate(given_)
        ]
        assert (read.producer_id, read.producer_epoch, read.base_sequence) == producer
        assert read.timestamp_type == 0
    assert records.pairs() == given_


@given(
    sizes=st.lists(st.sampled_from([0, 1, 300, 90_000, BATCH_BYTES, BATCH_BYTES + 1]), max_size=40), back=st.booleans()
)
def test_a_queue_lets_go_of_its_records_in_order_and_settles_each_receipt_once(sizes: list[int], back: bool) -> None:
    queue = Queue("messages", 0, 0)
    settled: list[int] = []
    for number, size in enumerate(sizes):
        queue.keys.append(b"%d" % number)
        queue.values.append(b"x" * size)
        if number % 3 == 2:
            queue.seal(Receipt(1, lambda number=number: settled.append(number)))  # type: ignore[misc]
    sent: list[bytes] = []
    while queue.waits():
        records = queue.take()
        assert len(records) == 1 or sum(map(len, records.values)) <= BATCH_BYTES
        if back:  # a failure, and the second try
            queue.take_back()
            back, records = False, queue.take()
        assert all(number >= len(sent) for number in settled[len(sent) :])
        sent += records.keys
        queue.landed()
        assert settled == list(range(2, len(sent), 3))
    assert sent == [b"%d" % number for number in range(len(sizes))]


def _queue(sizes: list[int]) -> Queue:
    queue = Queue("messages", 0, 0)
    for number, size in enumerate(sizes):
        queue.keys.append(b"%d" % number)
        queue.values.append(b"x" * size)
    return queue


def test_a_batch_that_is_taken_apart_settles_each_receipt_with_its_own_last_record() -> None:
    queue = _queue([1])
    settled: list[str] = []
    queue.seal(Receipt(1, lambda: settled.append("first")))
    for number in (1, 2):
        queue.keys.append(b"%d" % number)
        queue.values.append(b"x")
    queue.seal(Receipt(1, lambda: settled.append("second")))
    queue.take()
    queue.take_back()  # too large together
    queue.one_by_one = 3
    seen = []
    while queue.waits():
        assert len(queue.take()) == 1
        queue.landed()
        seen.append(list(settled))
    assert seen == [["first"], ["first"], ["first", "second"]]


def test_what_is_in_flight_settles_its_receipt_when_the_others_are_moved() -> None:
    queue = _queue([BATCH_BYTES, 1])
    settled: list[None] = []
    queue.seal(Receipt(1, lambda: settled.append(None)))
    queue.take()
    records, receipts = queue.empty()
    assert [key for key, _ in records] == [b"1"]
    for receipt in receipts:
        receipt.settle()  # the other queue's have landed
    assert not settled
    queue.take_back()
    queue.take()
    assert not settled
    queue.landed()
    assert len(settled) == 1


def _batches(data: bytes) -> list[Any]:
    found, batches = [], MemoryRecords(data)
    while batches.has_next():
        found.append(batches.next_batch())
    return found
