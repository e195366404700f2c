"""Null in place of every field that need not be there, in all that is written: definitions, parameters and messages."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from pydantic import BaseModel, ValidationError

from control_api.registry import load_registry
from notifier.definition import SPECS
from notifier.errors import InvalidRecord
from notifier.message import Message, read_message, without_absent
from notifier.record import JsonObject
from streams.runner.produced import read_items
from tests.rigs.routed import BEGINNING, Routed, changed, deliveries_of

OPTIONAL = [field.name for field in msgspec.structs.fields(Message) if not field.required]
EMPTY = [name for name in OPTIONAL if name not in ("v", "labels", "title", "url")]


def _below(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _below(field.annotation)
    for part in get_args(annotation):
        yield from _below(part)


MODELS = {
    model.__qualname__: model
    for top in [*SPECS.values(), *(plugin.Parameters for plugin in load_registry())]
    for model in _below(top)
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_null_stands_for_no_field_in_every_model_of_what_people_write(model: type[BaseModel]) -> None:
    absent = faults(model, {})
    given = {name: faults(model, {name: None}) for name, field in model.model_fields.items() if not field.is_required()}
    assert {name: found for name, found in given.items() if found != absent} == {}


def faults(model: type[BaseModel], written: dict[str, Any]) -> list[tuple[Any, str]]:
    """Where and how it does not fit."""
    try:
        model.model_validate(written)
    except ValidationError as error:
        return [(found["loc"], found["type"]) for found in error.errors()]
    return []


WRITTEN = {"producer": "p0", "content": "x", "extra": None}


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("value", [None, ""])
def test_null_and_where_it_can_be_none_an_empty_text_stand_for_no_field_of_a_message(name: str, value: Any) -> None:
    written = {**WRITTEN, name: value, "n": 12}
    if value == "" and name not in EMPTY:
        return
    message, data = read_message(json.dumps(written).encode())
    assert message == Message(producer="p0", content="x")
    assert json.loads(data)["n"] == 12
    assert "extra" in json.loads(data)  # not a field of ours: passed on as it is


@pytest.mark.parametrize(
    ("written", "present"),
    [
        (b'{"content":"","labels":{"a":null,"b":"c"}}', {"content": "", "labels": {"b": "c"}}),
        (b'{ "id" : null, "sender":\t"" , "big":123456789012345678901234567890}', {"big": 123456789012345678901234567890}),
        (b'{"labels":null,"v":null}', {}),
        (b'{"labels":{"b":"c"},"title":""}', None),
        (b'{"labels":[null]}', None),
        (b'{"producer":null,"content":null}', None),  # they must be there
        (b"[null]", None),
        (b"null", None),
        (b'{"a":', None),
        (b"\xff", None),
        (b'{"a":' * 5000, None),
    ],
)  # fmt: skip
def test_what_is_taken_out_of_a_message(written: bytes, present: JsonObject | None) -> None:
    found = without_absent(written)
    assert (None if found is None else json.loads(found)) == present


def test_what_is_not_absent_is_refused_as_before() -> None:
    misfits: list[JsonObject] = [
        {"labels": {"a": 1}},
        {"labels": []},
        {"severity": "bad"},
        {"content": None},
        {"id": 7},
    ]
    for wrong in misfits:
        with pytest.raises(InvalidRecord):
            read_message(json.dumps({**WRITTEN, "sender": None, "receiver": "", **wrong}).encode())


def test_the_router_and_the_runner_take_it_so() -> None:
    spec: dict[str, Any] = {"users": ["u1"], "producers": ["p0"], "filters": [], "consumers": ["file"]}
    routed = Routed(changed(BEGINNING, [("configuration", "c0", spec)], 2))
    nothing = dict.fromkeys(OPTIONAL)
    empty = {**nothing, **dict.fromkeys(EMPTY, "")}
    for absent in (nothing, empty):
        outputs = routed.route({**WRITTEN, **absent, "receiver": "u1", "labels": None})
        (((configuration, _, recipient), delivery),) = [
            found for found in deliveries_of(outputs) if found[0][0] == "c0"
        ]
        assert (configuration, recipient) == ("c0", "u1")
        assert delivery.message_id.startswith("3-")  # from its place on the topic
        assert json.loads(bytes(delivery.message)) == {**WRITTEN, "receiver": "u1", **_left(absent)}
        assert not outputs.get("dead_letters")
    (letter,) = routed.route({**WRITTEN, **nothing, "severity": "bad"})["dead_letters"]
    assert '"labels":null' in json.loads(letter)["value"].replace(" ", "")  # the record as it came
    (item,) = read_items([{**WRITTEN, **empty, "receiver": "u1"}], "run", "p0", "c0")
    assert item.error is None
    assert item.key == "u1"


def _left(absent: JsonObject) -> JsonObject:
    return {name: value for name, value in absent.items() if name in ("title", "url") and value == ""}
