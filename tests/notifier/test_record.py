"""Records: what is written is read, what does not fit is refused with its place, times have one form."""

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.attempt import Attempt, Counter, Counters, Origin
from notifier.dead_letter import DeadLetter
from notifier.definition import (
    Definition,
)
from notifier.delivery import Delivery
from notifier.errors import InvalidRecord, UnsupportedVersion
from notifier.message import Message
from notifier.record import JsonObject, Record, kafka_time, now, rfc3339
from notifier.run import ProducerRun, Run
from notifier.tick import Tick
from tests.rigs.examples import AT
from tests.rigs.tables import table

RECORDS: tuple[Record, ...] = (
    Message(producer="ci", content="build failed"),
    Message(
        producer="ci",
        content="build failed\n«ü»",
        id="7",
        sender="octocat",
        receiver="alice",
        title="CI",
        url="https://ci.example/7",
        severity="error",
        labels={"team": "infra"},
        occurred_at=AT,
        not_before=AT + timedelta(hours=1),
        configuration="c",
    ),
    Tick(configuration="c", scheduled_at=AT, trigger="manual"),
    Run(
        configuration="c",
        scheduled_at=AT,
        state="failed",
        owner="runner-1",
        lease_until=AT,
        producers=(ProducerRun(producer="reviews", state="failed", messages=2, error="no answer", started_at=AT),),
    ),
    Delivery(
        id="ci/7/c/chat/alice",
        configuration="c",
        configuration_version=3,
        consumer="chat",
        lane="chat",
        message=msgspec.Raw(b'{"producer":"ci","content":"x","extra":[1.50]}'),
        message_id="7",
        recipient="alice",
        recipients=("alice", "bob"),
        why="retry",
        not_before=AT,
    ),
    Attempt(
        delivery="ci/7/c/chat/alice",
        producer="ci",
        message="7",
        outcome="deferred",
        reason="timeout",
        started_at=AT,
        ended_at=AT,
        number=2,
        origin=Origin(topic="deliveries.chat", partition=0, offset=5),
    ),
    Counters(worker="w", at=AT, counters=(Counter(configuration="c", reason="filtered", count=9),)),
    DeadLetter(id="messages/0/5", stage="route", reason="invalid", error="not JSON", topic="messages", at=AT),
    Definition(kind="user", name="alice", revision=4, spec={"on_leave": True}),
)


@pytest.mark.parametrize(
    ("record", "written"),
    [
        (Tick(configuration="c", scheduled_at=AT), {"trigger": "cron"}),
        (
            Run(configuration="c", scheduled_at=AT, producers=(ProducerRun(producer="p"),)),
            {
                "trigger": "cron",
                "state": "running",
                "takeovers": 0,
                "producers": [{"producer": "p", "state": "running", "messages": 0}],
            },
        ),
        (Run(configuration="c", scheduled_at=AT), {"producers": []}),
        (
            Delivery(
                id="i",
                configuration="c",
                configuration_version=1,
                consumer="k",
                lane="l",
                message=msgspec.Raw(b"{}"),
                message_id="1",
            ),
            {"attempt": 1},
        ),
        (
            Attempt(
                delivery="d", producer="p", message="1", outcome="accepted", reason="ok", started_at=AT, ended_at=AT
            ),
            {"number": 1},
        ),
        (DeadLetter(id="i", stage="run", reason="invalid", error="x", topic="ticks", at=AT), {"attempts": 0}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Record) else "",
)
def test_what_the_contract_lists_is_written_where_it_is_the_default_too(record: Record, written: JsonObject) -> None:
    value = json.loads(record.encode())
    assert {name: value.get(name) for name in written} == written
    assert type(record).decode(record.encode()).encode() == record.encode()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_reads_what_it_writes(record: Record) -> None:
    data = record.encode()
    again = type(record).decode(data)
    assert again.encode() == data
    if not isinstance(record, Delivery):  # a Raw is equal to nothing but itself
        assert again == record


def test_a_record_leaves_out_what_is_as_always() -> None:
    assert Message(producer="ci", content="x").encode() == b'{"producer":"ci","content":"x"}'
    assert Tick(configuration="c", scheduled_at=AT).encode() == (
        b'{"configuration":"c","scheduled_at":"2026-11-23T09:00:00Z","trigger":"cron"}'
    )


START = b'{"producer":"ci","content":"x"'
DEEP = 100_000


@table(
    ("nothing", b"", "not JSON: "),
    ("not JSON", b"hello", "not JSON: "),
    ("an array", b"[]", "Expected `object`, got `array`"),
    ("null", b"null", "Expected `object`, got `null`"),
    ("more behind it", START + b"} x", "not JSON: "),
    ("a byte order mark", b"\xef\xbb\xbf" + START + b"}", "not JSON: "),
    ("NaN in a field nobody knows", START + b',"extra":NaN}', "not JSON: "),
    ("Infinity in a field nobody knows", START + b',"extra":-Infinity}', "not JSON: "),
    ("a lone surrogate", rb'{"producer":"ci","content":"\ud800 x"}', "not JSON: "),
    ("a lone surrogate in a field nobody knows", START + rb',"extra":"\ud800"}', "not JSON: "),
    ("a lone surrogate as the name of a field", START + rb',"\udc00":1}', "not JSON: "),
    ("not UTF-8 in a field nobody knows", START + b',"extra":"\xff"}', "not UTF-8 at byte 40"),
    ("a surrogate as UTF-8", START + b',"extra":"\xed\xa0\x80"}', "not UTF-8 at byte 40"),
    ("lists within lists", START + b',"extra":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested too deeply"),
    ("objects within objects", START + b',"extra":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", "nested too deeply"),
    ("lists without end", b'{"v":2,"producer":5,"extra":' + b"[" * DEEP, "Expected `str`, got `int` - at `$.producer`"),
    ("a control character", b'{"producer":"ci","content":"\x01"}', "not JSON: "),
    ("no content", b'{"producer":"ci"}', "Object missing required field `content`"),
    ("a number for a text", b'{"producer":"ci","content":5}', "Expected `str`, got `int` - at `$.content`"),
    ("null for a text", b'{"producer":"ci","content":null}', "Expected `str`, got `null` - at `$.content`"),
    ("an empty producer", b'{"producer":"","content":"x"}', "Expected `str` of length >= 1 - at `$.producer`"),
    ("a long id", START + b',"id":"' + b"i" * 513 + b'"}', "Expected `str` of length <= 512 - at `$.id`"),
    ("another severity", START + b',"severity":"bad"}', "Invalid enum value 'bad' - at `$.severity`"),
    ("a number for a label", START + b',"labels":{"a":1}}', "Expected `str`, got `int` - at `$.labels[...]`"),
    ("a time without zone", START + b',"occurred_at":"2026-01-01T00:00:00"}', "Expected `datetime` with a timezone"),
    ("a time as a number", START + b',"occurred_at":1767225600}', "Expected `datetime | null`, got `int`"),
    ("a version as a text", START + b',"v":"2"}', "Expected `int`, got `str` - at `$.v`"),
    ("a version with a fraction", START + b',"v":1.0}', "Expected `int`, got `float` - at `$.v`"),
)
def test_decoding_is_strict(row: tuple[bytes, str]) -> None:
    data, text = row
    with pytest.raises(InvalidRecord) as caught:
        Message.decode(data)
    assert str(caught.value).startswith(text)
    assert caught.value.data == data
    assert caught.value.reason == "invalid"


@pytest.mark.parametrize("rest", [b'"content":"x"}', b'"content":5}', b'"nothing":"that fits"}'])
def test_a_newer_version_is_told_from_what_does_not_fit(rest: bytes) -> None:
    data = b'{"v":2,"producer":"ci",' + rest
    with pytest.raises(UnsupportedVersion, match="version 2 of Message is not known here") as caught:
        Message.decode(data)
    assert caught.value.data == data
    assert caught.value.reason == "unsupported_version"


def test_of_a_field_that_is_there_twice_the_last_counts() -> None:
    # As in Python, ECMAScript and PostgreSQL's jsonb, so whoever reads the spliced bytes behind us sees the same.
    assert Message.decode(b'{"producer":"ci","content":"first","content":"last"}').content == "last"


def test_unknown_fields_of_the_same_version_are_passed_over() -> None:
    message = Message.decode(START + b',"v":1,"severity":null,"extra":{"a":[1e999,null]}}')
    assert message == Message(producer="ci", content="x")


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001 - added below
def test_equal_times_are_written_equally(naive: datetime, minutes: int) -> None:
    there = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = rfc3339(there)
    assert text == rfc3339(there.astimezone(UTC))
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == there


def test_a_time_needs_a_zone_and_a_year() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        rfc3339(AT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="not a time in UTC"):
        rfc3339(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
    assert rfc3339(now()).endswith("Z")


@table(
    ("none", None, None),
    ("no time", -1, None),
    ("beyond the calendar", 2**63 - 1, None),
    ("later than a time may be", 221_878_000_000_000, None),
    ("a time", 1500, "1970-01-01T00:00:01.500000Z"),
)
def test_the_time_of_a_kafka_record_is_one_of_the_calendar_or_none(row: tuple[int | None, str | None]) -> None:
    written, expected = row
    time = kafka_time(written)
    assert (None if time is None else rfc3339(time)) == expected
