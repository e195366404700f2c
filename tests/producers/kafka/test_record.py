"""What the values and headers of records say: JSON, text and CloudEvents, and what is none of them."""

from typing import Any

import pytest

from consumers.kafka import Kafka as KafkaConsumer
from notifier.errors import RecordError
from notifier.plugin import secret_addresses
from producers.kafka import Kafka
from producers.kafka.record import Format, read_headers, schema_id
from tests.rigs.kafka_records import a_record

EVENT = {"specversion": "1.0", "id": "7", "source": "/ci", "type": "build.failed", "data": {"message": "it broke"}}
BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/ci"), ("ce_type", b"build.failed")]


def items(value: Any, headers: Any = (), **parameters: Any) -> list[Any]:
    producer = Kafka(Kafka.Parameters.model_validate({"topic": "others", **parameters}))
    return list(producer.items(a_record(value, headers), {}, "p"))


@pytest.mark.parametrize(
    ("value", "given", "expected"),
    [
        pytest.param({"content": "a", "receiver": "al", "x": [1]}, {}, {"receiver": "al", "x": [1]}, id="a message"),
        pytest.param({"content": "a", "labels": None, "id": ""}, {}, {}, id="a message with nulls"),
        pytest.param(
            {"content": "a", "severity": "odd"}, {}, {"content": '{"content":"a","severity":"odd"}'}, id="nearly"
        ),
        pytest.param([1, {"b": None}], {}, {"content": '[1,{"b":null}]'}, id="any JSON"),
        pytest.param(b"plain text", {}, {"content": "plain text"}, id="text"),
        pytest.param(b'\xef\xbb\xbf{"content": "a"}', {}, {}, id="JSON with a byte order mark"),
        pytest.param(b'{"content": "a", "n": NaN}', {"format": "json"}, {}, id="NaN"),
        pytest.param(b'"x \\ud83d"', {}, {"content": "x ?"}, id="a lone surrogate"),
        pytest.param({"content": "a"}, {"format": "text"}, {"content": '{"content": "a"}'}, id="JSON as text"),
        pytest.param({"t": "a"}, {"mapping": {"content": "t", "title": "no"}}, {}, id="a mapping"),
    ],
)
def test_a_record_is_one_message(value: Any, given: dict[str, Any], expected: dict[str, Any]) -> None:
    (message,) = items(value, **given)
    place = {"id": "others-3-7", "occurred_at": "2026-11-29T10:00:00Z"}
    message.pop("n", None)
    assert message == {"content": "a", **place, **expected}


def test_ids_are_those_of_the_mapping_else_the_records_place() -> None:
    value = {"list": [{"t": "a", "n": 1}, {"t": "b", "n": 2}]}
    mapping = {"each": "list", "content": "t"}
    assert [one["id"] for one in items(value, mapping=mapping)] == ["others-3-7-1", "others-3-7-2"]
    assert [one["id"] for one in items(value, mapping={**mapping, "id": "n"})] == ["1", "2"]
    assert items({"list": []}, mapping=mapping) == []


@pytest.mark.parametrize("format_", ["auto", "cloudevents"])
def test_cloud_events_come_structured_in_batches_and_in_headers(format_: Format) -> None:
    (structured,) = items(EVENT, [("content-type", b"application/cloudevents+json; charset=utf-8")], format=format_)
    (bare,) = items(EVENT, format=format_)
    (binary,) = items({"message": "it broke"}, BINARY, format=format_)
    first, second = items([EVENT, {**EVENT, "id": "8"}], format=format_)
    assert structured["content"] == bare["content"] == binary["content"] == first["content"] == second["content"]
    assert "it broke" in structured["content"]
    assert items(None, BINARY, format=format_)  # an event without data is one all the same


@pytest.mark.parametrize(
    ("value", "headers", "format_", "words"),
    [
        pytest.param(None, (), "auto", "tombstone", id="a tombstone"),
        pytest.param(b"", (), "auto", "is empty", id="nothing"),
        pytest.param(b"\xff\xfe", (), "auto", "not UTF-8", id="no text"),
        pytest.param(b"\0\0\0\0\x07abc", (), "auto", "NUL", id="a schema without a registry"),
        pytest.param(b"plain", (), "json", "not JSON", id="no JSON"),
        pytest.param(b"[" * 100_000, (), "json", "nested too deeply", id="nested"),
        pytest.param(
            b"plain", [("Content-Type", b"application/json")], "auto", "not JSON", id="no JSON that says it is"
        ),
        pytest.param({"a": 1}, (), "cloudevents", "no CloudEvent", id="no event"),
        pytest.param(b"x" * 900_001, (), "text", "at most 900000", id="huge"),
    ],
)
def test_what_cannot_be_read_costs_itself(value: Any, headers: Any, format_: Format, words: str) -> None:
    record = a_record(value, headers)
    (error,) = items(value, headers, format=format_)
    assert isinstance(error, RecordError)
    assert words in str(error)
    assert (error.id, error.data) == ("others-3-7", record.value)


def test_headers_are_bounded_and_need_be_no_text() -> None:
    found = read_headers([("Odd\ufffd", b"\xff"), ("none", None), *[(f"h{n}", b"x" * 100_000) for n in range(1000)]])
    assert len(found) == 200
    assert found["odd\ufffd"] == "\ufffd"
    assert max(map(len, found.values())) == 8192


def test_a_schema_is_named_by_five_bytes() -> None:
    assert schema_id(b"\0\0\0\x01\x00x") == 256
    assert [schema_id(value) for value in (None, b"", b"\0\0\0", b"{}", b"\x01\0\0\0\x01")] == [None] * 5


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"topic": "__consumer_offsets"}, id="Kafka's own"),
        pytest.param({"format": "avro"}, id="no registry"),
        pytest.param({"registry": "https://name:pw@registry.example"}, id="a password in the address"),
        pytest.param({"registry": "registry:8081"}, id="no address of the web"),
        pytest.param({"proxy": "http://proxy.example:1"}, id="a proxy to this cluster"),
        pytest.param({"servers": "a:0"}, id="no port"),
        pytest.param({"mapping": {"content": "a["}}, id="no expression"),
        pytest.param({"security_protocol": "SASL_SSL"}, id="nobody signs in"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's is one
        Kafka.Parameters.model_validate({"topic": "others", **wrong})


def test_secrets_are_cleared_where_they_would_go_elsewhere() -> None:
    found = secret_addresses(Kafka.Parameters)
    assert set(found["password"]) == {"servers", "security_protocol", "sasl_mechanism", "authority", "proxy"}
    assert set(secret_addresses(KafkaConsumer.Parameters)["password"]) == set(found["password"])
    assert set(found["registry_password"]) == {"registry", "proxy"}
