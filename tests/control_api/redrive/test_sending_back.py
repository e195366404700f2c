"""What a dead letter is sent again as."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from control_api.redrive.sending_back import NotSent, send_back
from notifier.record import JsonObject
from tests.rigs.delivery_rig import make

AT = datetime(2026, 11, 29, 9, tzinfo=UTC)
PREFIX = "n."


@dataclass
class Row:
    letter: str = "l"
    stage: str = "route"
    topic: str = "n.messages"
    key: str | None = "ann"
    value: str | None = None
    value_base64: str | None = None
    delivery: str | None = None
    message: str | None = None
    configuration: str | None = None


MESSAGE = '{"producer":"ci","content":"x","own":[1,2.50]}'

CASES: list[tuple[str, dict[str, Any], str, JsonObject | str]] = [
    ("one that came without an id has the one that it was given",
     {"value": MESSAGE, "message": "0-7-99"}, "messages",
     {"producer": "ci", "content": "x", "own": [1, 2.5], "id": "0-7-99"}),
    ("an id of its own stays",
     {"value": '{"id":"a","producer":"ci","content":"x"}', "message": "a"}, "messages",
     {"id": "a", "producer": "ci", "content": "x"}),
    ("one that a filter could not judge is for that configuration alone",
     {"value": MESSAGE, "message": "0-7-99", "configuration": "told"}, "messages",
     {"producer": "ci", "content": "x", "own": [1, 2.5], "id": "0-7-99", "configuration": "told"}),
    ("what could not be read goes as it was", {"value": '{"producer": 7', "message": None}, "messages", '{"producer": 7'),
    ("a tick goes as it was", {"stage": "run", "topic": "n.ticks", "value": '{"configuration":"c"}'}, "ticks",
     {"configuration": "c"}),
    ("an item of a run has the id that it would have had",
     {"stage": "run", "letter": "c/2026-11-23T09:00:00Z/p/1", "value": '{"id":7,"content":"x"}', "configuration": "c"},
     "messages", {"id": "c/2026-11-23T09:00:00Z/p/1", "content": "x"}),
    ("an item that is no object goes as it was", {"stage": "run", "value": "[]"}, "messages", "[]"),
    ("what is not UTF-8 goes as it was", {"value_base64": "//4="}, "messages", "\udcff\udcfe"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "topic", "value"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_original_record_goes_again(row: dict[str, Any], topic: str, value: JsonObject | str) -> None:
    back = send_back(Row(**row), AT, PREFIX, ())
    assert (back.topic.name, back.key) == (topic, b"ann")
    if isinstance(value, str):
        assert back.value == value.encode(errors="surrogateescape")
    else:
        assert json.loads(back.value) == value
    assert back.headers == [("redriven_at", b"2026-11-29T09:00:00Z")]


def test_a_delivery_goes_to_its_consumer_as_a_new_one() -> None:
    delivery = make("x", lane="a/b", attempt=5, spared=3, not_before=AT, why="retry")
    row = Row(
        stage="deliver", topic="n.parked", key=delivery.id, value=delivery.encode().decode(), delivery=delivery.id
    )
    back = send_back(row, AT, PREFIX, {"sink"})
    assert (back.topic.name, back.key) == ("deliveries.sink", b"a/b")
    again = json.loads(back.value)
    assert (again["id"], again["attempt"], again["redriven_at"]) == (delivery.id, 1, "2026-11-29T09:00:00Z")
    assert again.keys() & {"spared", "not_before", "why"} == set()
    assert again["message"] == json.loads(delivery.encode())["message"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "does not have its record"),
    ({"value_base64": "%"}, "cannot be read"),
    ({"value": "{}", "topic": "n.status"}, "none that is sent to again"),
    ({"stage": "deliver", "value": "{}"}, "holds no delivery"),
    ({"stage": "deliver", "value": make("x", consumer="gone").encode().decode()}, "gone is not defined any more"),
    ({"value": "x" * 5_000_000}, "too large for the topic messages"),
    (
        {"value": json.dumps({"producer": "ci", "content": "x" * 899_950}), "message": "m" * 100},
        "a message has at most",
    ),
    ({"stage": "run", "topic": "n.ticks", "value": "x" * 2_000_000}, "too large for the topic ticks"),
]


@pytest.mark.parametrize(("row", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_cannot_be_sent_again_says_why(row: dict[str, Any], why: str) -> None:
    with pytest.raises(NotSent, match=why):
        send_back(Row(**row), AT, PREFIX, {"sink"})
