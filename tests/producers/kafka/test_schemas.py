"""Avro and JSON Schema: what values say, and schemas that would hold up a runner or end it."""

import io
import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from notifier.errors import InvalidRecord
from producers.kafka.avro import AvroSchema
from producers.kafka.json_schema import JsonSchema

BUILD = {
    "type": "record",
    "name": "Build",
    "namespace": "ci",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "owner", "type": ["null", "string"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "raw", "type": "bytes"},
        {"name": "tags", "type": {"type": "map", "values": {"type": "array", "items": "int"}}},
    ],
}
NODE = {"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}


def avro(*schemas: Any) -> AvroSchema:
    return AvroSchema([(f"s{number}", json.dumps(one)) for number, one in enumerate(schemas)])


def written(schema: Any, value: Any) -> bytes:
    data = io.BytesIO()
    fastavro.schemaless_writer(data, fastavro.parse_schema(schema), value)
    return data.getvalue()


def test_avro_becomes_json() -> None:
    at = datetime(2026, 11, 29, 10, tzinfo=UTC)
    value = {"text": "broke", "owner": None, "at": at, "cost": Decimal("1.50"), "raw": b"\xff", "tags": {"a": [1, 2]}}
    assert avro(BUILD).read(written(BUILD, value)) == {
        "text": "broke",
        "owner": None,
        "at": "2026-11-29T10:00:00Z",
        "cost": "1.50",
        "raw": "/w==",
        "tags": {"a": [1, 2]},
    }


def test_avro_by_names_of_others() -> None:
    inner = {"type": "record", "name": "a.Inner", "fields": [{"name": "x", "type": "int"}]}
    outer = {
        "type": "record",
        "name": "a.Outer",
        "fields": [{"name": "one", "type": "Inner"}, {"name": "two", "type": "a.Inner"}],
    }
    assert avro(inner, outer).read(b"\x02\x04") == {"one": {"x": 1}, "two": {"x": 2}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        pytest.param(NODE, "refers to itself", id="itself, which ends the process in C"),
        pytest.param({"type": "array", "items": "null"}, "null outside of a union", id="nulls"),
        pytest.param(
            {"type": "array", "items": {"type": "record", "name": "E", "fields": []}}, "without fields", id="empty"
        ),
        pytest.param({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "of no bytes", id="fixed"),
        pytest.param({"type": "array", "items": {"type": {"type": "null"}}}, "null outside", id="hidden"),
        pytest.param(
            [{"type": "record", "name": "a.E", "fields": []}, {"type": "array", "items": "a.E"}],
            "a.E outside of a union",
            id="empty by its name",
        ),
        pytest.param(
            {
                "type": "record",
                "name": "a.R",
                "fields": [
                    {"name": "x", "type": ["null", {"type": "fixed", "name": "F", "size": 0}]},
                    {"name": "y", "type": {"type": "map", "values": "F"}},
                ],
            },
            "F outside of a union",
            id="fixed by its name",
        ),
        pytest.param("unknown", "no Avro schema", id="an unknown name"),
        pytest.param(7, "no Avro schema", id="no schema"),
        pytest.param({"type": "record"}, "without fields", id="half of one"),
    ],
)
def test_schemas_that_are_not_read(schema: Any, words: str) -> None:
    with pytest.raises(InvalidRecord, match=words):
        avro(schema)


def test_schemas_that_are_nested_too_deeply_are_not_read() -> None:
    deep: Any = "int"
    for _ in range(60):
        deep = {"type": "array", "items": deep}
    with pytest.raises(InvalidRecord, match="levels deep"):
        avro(deep)
    steps = [{"type": "record", "name": "R0", "fields": [{"name": "x", "type": "int"}]}]
    for number in range(60):
        fields = [{"name": name, "type": f"R{number}"} for name in "ab"]
        steps.append({"type": "record", "name": f"R{number + 1}", "fields": fields})
    with pytest.raises(InvalidRecord, match="levels deep"):
        avro(*steps)


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 20, b"\x02", written("string", "x" * 50)[:10], b"\x00\x09\x00\x00\x00\x00"]
)
def test_avro_that_does_not_fit(data: bytes) -> None:
    with pytest.raises(InvalidRecord, match="does not fit its Avro schema"):
        avro(BUILD).read(data)


def test_avro_with_something_behind_it_does_not_fit() -> None:
    with pytest.raises(InvalidRecord, match="2 bytes are left over"):
        avro("int").read(b"\x02ab")


def test_avro_that_becomes_too_much_is_not_read() -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 6}
    with pytest.raises(InvalidRecord, match="a decimal of 900000 bytes"):  # which would take minutes
        avro(decimal).read(written("bytes", b"\x7f" * 900_000))
    fields = [{"name": "n" * 100_000, "type": "boolean"}]
    named = {"type": "array", "items": {"type": "record", "name": "R", "fields": fields}}
    word = {"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["e" * 100_000]}}
    for schema in (named, word):
        with pytest.raises(InvalidRecord, match="characters as JSON"):  # 10 GB
            avro(schema).read(written({"type": "array", "items": "boolean"}, [False] * 100_000))


# --- JSON Schema ---


def json_schema(*schemas: Any) -> JsonSchema:
    return JsonSchema([(f"s{number}", json.dumps(one)) for number, one in enumerate(schemas)])


def test_json_is_held_to_its_schema() -> None:
    schema = json_schema(
        {"type": "object", "properties": {"n": {"type": "integer"}}},
        {"$ref": "s0", "required": ["n"]},
        {
            "type": "object",
            "properties": {
                "text": {"type": "string", "pattern": "^b"},
                "in": {"$ref": "s0"},
                "l": {"uniqueItems": True},
            },
            "patternProperties": {"^x-": {"type": "integer"}},
            "additionalProperties": False,
        },
    )
    value = {"text": "broke", "in": {"n": 1}, "x-1": 2, "l": [1, 2]}
    assert schema.read(json.dumps(value).encode()) == value
    for odd in ({"text": "a"}, {"in": {"n": "1"}}, {"x-1": "2"}, {"other": 1}, {"l": [{"a": 1}, {"a": 1}]}):
        with pytest.raises(InvalidRecord, match="does not fit its schema"):
            schema.read(json.dumps(odd).encode())
    with pytest.raises(InvalidRecord, match="not JSON"):
        schema.read(b"{")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"$ref": "http://127.0.0.1:1/x.json"}, 1, id="elsewhere"),
        pytest.param({"$ref": "#"}, 1, id="itself"),
        pytest.param({"type": "nonsense"}, 1, id="an unknown type"),
        pytest.param({"minimum": "a"}, 1, id="a wrong keyword"),
        pytest.param({"patternProperties": 3}, {"a": 1}, id="another"),
    ],
)
def test_schemas_that_cannot_be_used(schema: Any, value: Any) -> None:
    with pytest.raises(InvalidRecord):
        json_schema(schema).read(json.dumps(value).encode())


def test_a_schema_that_asks_for_endless_work_is_given_up() -> None:
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(40)}
    schema = json_schema({"$defs": {**levels, "l40": {"type": "integer"}}, "$ref": "#/$defs/l0"})
    began = time.monotonic()
    with pytest.raises(InvalidRecord, match="too much work"):
        schema.read(b"1")
    assert time.monotonic() - began < 300  # it would be years


@pytest.mark.parametrize("rest", [{}, {"additionalProperties": False}])
def test_many_patterns_for_many_names_are_too_much_work(rest: Any) -> None:
    schema = json_schema({"patternProperties": {f"^p{n}": {} for n in range(20_000)}, **rest})
    with pytest.raises(InvalidRecord, match="too much work"):  # 200 million searches
        schema.read(json.dumps({f"n{n}": 1 for n in range(10_000)}).encode())
    few = json_schema({"patternProperties": {f"^p{n}": {} for n in range(20)}, **rest})
    value = {f"p{n}": 1 for n in range(1000)}
    assert few.read(json.dumps(value).encode()) == value


def test_patterns_take_bounded_time() -> None:
    schema = json_schema({"pattern": "^(a+)+$", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False})
    text = "a" * 5000 + "!"
    for value in (text, {text: 1}):
        with pytest.raises(InvalidRecord, match="does not fit"):
            schema.read(json.dumps(value).encode())
    assert json_schema({"pattern": "(?=a)b"}).read(b'"b"') == "b"  # which RE2 does not know
