"""What may come in: times of the years 1970 to 9000 whatever their zone, numbers that fit, and every record says the same."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from notifier.attempt import Attempt
from notifier.bounds import END, FIRST, BoundedTime, in_range
from notifier.dead_letter import DeadLetter
from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.errors import InvalidRecord
from notifier.message import Message
from notifier.record import Record, rfc3339
from notifier.run import Run
from notifier.tick import Tick
from notifier.utc import Utc
from tests.rigs.odd_times import GO_ZERO, OUT_OF_RANGE, WITHIN
from tests.rigs.tables import table

ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ENDS = st.sampled_from(
    (FIRST, END, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC))
).map(lambda end: end.replace(tzinfo=None))
TIMES = st.builds(
    lambda naive, zone: naive.replace(tzinfo=zone),
    st.datetimes() | ENDS | st.datetimes(datetime(8999, 12, 30), datetime(9001, 1, 3)),  # noqa: DTZ001 - added above
    ZONES,
)

AT = "2026-11-23T09:00:00Z"
VALID: tuple[tuple[type[Record], dict[str, Any]], ...] = (
    (Message, {"producer": "ci", "content": "x", "occurred_at": AT, "not_before": AT, "expires_at": AT}),
    (Tick, {"configuration": "c", "scheduled_at": AT}),
    (
        Delivery,
        {
            "id": "ci/7/c/chat/alice",
            "configuration": "c",
            "configuration_version": 3,
            "consumer": "chat",
            "lane": "chat",
            "message": {},
            "message_id": "7",
            "attempt": 1,
            "spared": 0,
            "not_before": AT,
            "expires_at": AT,
            "redriven_at": AT,
            "routed_at": AT,
        },
    ),
    (
        Attempt,
        {
            "delivery": "ci/7/c/chat/alice",
            "producer": "ci",
            "message": "7",
            "outcome": "accepted",
            "reason": "ok",
            "number": 1,
            "configuration_version": 3,
            "started_at": AT,
            "ended_at": AT,
            "not_before": AT,
        },
    ),
    (
        DeadLetter,
        {
            "id": "messages/0/5",
            "stage": "route",
            "reason": "invalid",
            "error": "no",
            "topic": "messages",
            "partition": 0,
            "offset": 5,
            "attempts": 1,
            "at": AT,
            "timestamp": AT,
            "redriven_at": AT,
        },
    ),
    (
        Run,
        {
            "configuration": "c",
            "scheduled_at": AT,
            "lease_until": AT,
            "started_at": AT,
            "ended_at": AT,
            "takeovers": 0,
        },
    ),
    (Definition, {"kind": "user", "name": "alice", "revision": 3, "spec": {}}),
)
IN_TIME = [(cls, valid, name) for cls, valid in VALID for name, value in valid.items() if value == AT]
IN_NUMBER = [(cls, valid, name) for cls, valid in VALID for name, value in valid.items() if isinstance(value, int)]


def _ids(rows: list[tuple[type[Record], dict[str, Any], str]]) -> list[str]:
    return [f"{cls.__name__}.{name}" for cls, _, name in rows]


@given(TIMES)
def test_what_is_in_range_can_be_used_anywhere_and_all_ways_in_agree(time: datetime) -> None:
    good = in_range(time)
    text = msgspec.json.encode(time).decode().strip('"')
    data = json.dumps({"producer": "ci", "content": "x", "not_before": text})
    if not good:
        if text != GO_ZERO and time != datetime(1, 1, 1, tzinfo=UTC):
            with pytest.raises(InvalidRecord, match="not_before"):
                Message.decode(data.encode())
        with pytest.raises(ValidationError, match="1970 to 9000"):
            TypeAdapter(BoundedTime).validate_python(time)
        return
    assert Message.decode(data.encode()).not_before == time
    assert TypeAdapter[datetime](BoundedTime).validate_python(time) == time
    assert datetime.fromisoformat(rfc3339(time)) == time
    for zone in (timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))):
        assert time.astimezone(zone) + timedelta(days=366) > time
        assert time.astimezone(zone) - timedelta(days=366) < time

    class _Dialect:
        name = "sqlite"

    assert Utc().process_bind_param(time, _Dialect()) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(("cls", "valid", "name"), IN_TIME, ids=_ids(IN_TIME))
def test_every_time_of_every_record_is_bounded(cls: type[Record], valid: dict[str, Any], name: str) -> None:
    for text in WITHIN:
        assert rfc3339(getattr(cls.decode(json.dumps({**valid, name: text}).encode()), name))
    for text in OUT_OF_RANGE:
        data = {**valid, name: text}
        with pytest.raises(InvalidRecord, match=f"must lie in the years 1970 to 9000 - at `\\$.{name}`") as caught:
            cls.decode(json.dumps(data).encode())
        assert caught.value.data == json.dumps(data).encode()
        if cls is not Delivery:  # its message is spliced in as bytes, so it is read from bytes only
            with pytest.raises(InvalidRecord, match=name):
                cls.from_object(data)


@pytest.mark.parametrize(("cls", "valid", "name"), IN_NUMBER, ids=_ids(IN_NUMBER))
def test_every_number_of_every_record_is_bounded(cls: type[Record], valid: dict[str, Any], name: str) -> None:
    cls.decode(json.dumps({**valid, name: 2**31 - 1}).encode())
    for number in ("-5", str(2**63), str(2**64), str(2**70), str(-(2**70)), "9" * 5000):
        data = json.dumps({**valid, name: "?"}).replace('"?"', number)
        with pytest.raises(InvalidRecord, match=name):
            cls.decode(data.encode())


@table(
    ("zero", 0),
    ("negative", -1),
    ("beyond 64 bits", 2**70),
)
def test_a_version_that_no_program_can_have_is_invalid_and_not_newer(row: tuple[int]) -> None:
    with pytest.raises(InvalidRecord, match=r"\$\.v"):
        Message.decode(json.dumps({"producer": "ci", "content": "x", "v": row[0]}).encode())


def test_the_zero_time_of_go_is_an_absent_time_of_a_message() -> None:
    data = {"producer": "ci", "content": "x", "occurred_at": GO_ZERO, "not_before": GO_ZERO}
    for message in (Message.decode(json.dumps(data).encode()), Message.from_object(data)):
        assert (message.occurred_at, message.not_before) == (None, None)
    with pytest.raises(InvalidRecord, match="not_before"):
        Message.decode(json.dumps({**data, "not_before": "0001-01-01T00:00:01Z"}).encode())
    with pytest.raises(InvalidRecord, match="scheduled_at"):
        Tick.decode(json.dumps({"configuration": "c", "scheduled_at": GO_ZERO}).encode())


def test_ids_leave_room_in_a_record_that_repeats_them() -> None:
    cls, valid = VALID[2]
    longest = "/".join("%F0%9F%98%80" * 512 for _ in range(2)) + "/" + "c" * 63 + "/" + "c" * 63 + "/" + "%D0%B9" * 150
    cls.decode(json.dumps({**valid, "id": longest}).encode())
    for name in ("id", "message_id", "consumer", "configuration"):
        with pytest.raises(InvalidRecord, match=name):
            cls.decode(json.dumps({**valid, name: "x" * 600_000}).encode())
