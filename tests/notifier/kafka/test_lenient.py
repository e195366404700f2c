"""Reading a batch record by record, where aiokafka's parser refuses the whole."""

import gzip
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka.codec import zstd_encode

from notifier.kafka import kafka_consumer, lenient
from notifier.kafka.lenient import LenientRecords
from notifier.kafka.unpacking import MOST_BYTES
from notifier.settings import Settings
from tests.rigs.kafka_tools import produce, read_all
from tests.rigs.raw_records import LATIN, Header, RawBatch, batch, number, record, text, write_batch


def read(made: RawBatch) -> list[Any]:
    """What is read of a fetch of this batch, twice over: by the router and by a Kafka consumer they are the same."""
    data = made.encode()
    records = LenientRecords(data)
    found = records.read(records.plain.next_batch())
    (again,) = [list(batch) for batch in _batches(LenientRecords(data))]
    assert [(one.offset, one.value) for one in found] == [(one.offset, one.value) for one in again]
    return found


def _batches(records: LenientRecords) -> Any:
    while records.has_next():
        yield records.next_batch()


def three(middle: bytes) -> RawBatch:
    return batch(record(b"first") + middle + record(b"last", place=2), 3)


def test_header_names_that_are_not_utf8_are_read_with_replacement() -> None:
    first, middle, last = read(three(record(b"x", b"k", [*LATIN, (b"settled", None)], place=1)))
    assert (first.value, last.value, last.offset) == (b"first", b"last", 2)
    assert (middle.key, middle.value, middle.offset) == (b"k", b"x", 1)
    assert list(middle.headers) == [("schl\ufffdssel", b"x"), ("settled", None)]
    assert middle.timestamp == first.timestamp


@pytest.mark.parametrize(
    "middle",
    [
        pytest.param(text(b"\x00\x00\x02" + number(900) + b"key"), id="a key longer than the record"),
        pytest.param(text(b"\x00\x00\x02\x01" + b"\xff" * 12), id="a number that does not end"),
        pytest.param(text(b"\x00\x00"), id="a record that is cut"),
        pytest.param(text(b""), id="an empty record"),
        pytest.param(record(b"x", headers=LATIN, place=77), id="an offset beyond the batch"),
        pytest.param(record(b"x", headers=LATIN, place=-5), id="an offset before it"),
    ],
)
def test_a_damaged_record_costs_itself(middle: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        found = read(three(middle))
    assert [(one.offset, one.value) for one in found] == [(0, b"first"), (1, middle), (2, b"last")]


def test_a_record_with_damaged_headers_keeps_its_value() -> None:
    middle = text(b"\x00\x00\x02\x01" + text(b"x") + number(3) + number(500))
    assert [one.value for one in read(three(middle))] == [b"first", b"x", b"last"]


def test_what_follows_a_wrong_length_is_kept_as_bytes() -> None:
    rest = number(1 << 40) + b"rest"
    found = read(batch(record(b"first") + rest, 3))
    assert [(one.offset, one.value) for one in found] == [(0, b"first"), (1, rest)]


def test_a_wrong_count_loses_no_record() -> None:
    assert [one.value for one in read(batch(record(b"a") + record(b"b", place=1), 9))] == [b"a", b"b"]
    assert [one.value for one in read(batch(record(b"a") + record(b"b", place=1), 1))] == [b"a"]


@pytest.mark.parametrize("compression", [1, 2, 3, 4, 7])
def test_a_batch_that_cannot_be_unpacked_is_one_record(compression: int) -> None:
    (found,) = read(batch(b"no such thing", 5, compression))
    assert (found.offset, found.value) == (0, b"no such thing")


def test_a_packed_batch_is_read_record_by_record_too() -> None:
    body = record(b"first", headers=LATIN) + record(b"second", place=1)
    assert [one.value for one in read(batch(gzip.compress(body), 2, 1))] == [b"first", b"second"]


@pytest.mark.parametrize(("compression", "pack"), [(0, bytes), (1, gzip.compress), (4, zstd_encode)])
def test_a_healthy_batch_is_read_by_the_fast_parser(compression: int, pack: Callable[[bytes], bytes]) -> None:
    first, last = read(batch(pack(record(b"x", b"k") + record(b"y", place=1)), 2, compression))
    assert type(first).__module__.startswith("aiokafka")
    assert (first.offset, first.key, first.value) == (0, b"k", b"x")
    assert (last.offset, last.value) == (1, b"y")


def test_a_batch_that_unpacks_to_too_much_is_one_record() -> None:
    packed = zstd_encode(record(bytes(2 * MOST_BYTES)))
    (found,) = read(batch(packed, 1, 4))
    assert found.value == packed


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenient, "MOST_RECORDS", 60)
    monkeypatch.setattr(lenient, "MOST_SALVAGED", 20)


def of(count: int, headers: Sequence[Header], compression: int = 4) -> tuple[bytes, RawBatch]:
    """A batch of so many records, and its body."""
    body = b"".join([record(b"x", headers=headers, place=place) for place in range(count)])
    body = zstd_encode(body) if compression else body
    return body, batch(body, count, compression)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("compression", [0, 4])
@pytest.mark.parametrize(("most", "headers"), [(60, ()), (20, LATIN)])
def test_a_batch_of_too_many_records_is_one_record(most: int, headers: Sequence[Header], compression: int) -> None:
    body, made = of(most + 1, headers, compression)
    (found,) = read(made)
    assert (found.offset, found.value) == (0, body)
    assert [one.value for one in read(of(most, headers, compression)[1])] == [b"x"] * most


@pytest.mark.usefixtures("few")
def test_a_record_of_very_many_headers_keeps_the_first_ones() -> None:
    many = record(b"x", headers=[*LATIN, *[(b"h", None)] * 50])
    first, second = read(batch(many + record(b"y", headers=[(b"h", None)], place=1), 2))
    assert (first.value, len(first.headers)) == (b"x", 20)
    assert (second.value, second.headers) == (b"y", [])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("count", "headers"), [(30, ()), (10, LATIN)])
def test_a_fetch_ends_where_many_records_were_read(count: int, headers: Sequence[Header]) -> None:
    data = of(count, headers)[1].encode()
    assert [len(list(one)) for one in _batches(LenientRecords(data * 3))] == [count, count]


async def test_every_kafka_consumer_reads_on(settings: Settings) -> None:
    assert (
        await write_batch(settings, "plain", batch(record(b"odd", b"k", LATIN) + record(b"b", b"k", place=1), 2)) == 0
    )
    await produce(settings, "plain", [b"after"])
    assert [one.value for one in await read_all(settings, "plain")] == [b"odd", b"b", b"after"]
    async with kafka_consumer(settings, settings.topic_prefix + "plain", group_id=settings.topic_prefix + "g") as kafka:
        assert [(await kafka.getone()).value for _ in range(3)] == [b"odd", b"b", b"after"]
        await kafka.commit()
        (partition,) = kafka.assignment()
        assert await kafka.committed(partition) == 3


async def test_what_unpacks_to_much_is_read_fetch_by_fetch(settings: Settings) -> None:
    large = bytes(3 * 1024 * 1024)  # six of them are more than a fetch may unpack to
    for _ in range(6):
        assert await write_batch(settings, "packed", batch(zstd_encode(record(large)), 1, 4)) == 0
        assert await write_batch(settings, "packed", batch(zstd_encode(record(bytes(2 * MOST_BYTES))), 1, 4)) == 0
    await produce(settings, "packed", [b"after"])
    values = [len(one.value) for one in await read_all(settings, "packed")]
    assert (len(values), values[0:12:2], values[-1]) == (13, [len(large)] * 6, len(b"after"))
    assert max(values[1:12:2]) < 10_000
