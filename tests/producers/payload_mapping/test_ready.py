"""The ready mappings: what becomes of real payloads, and that nothing odd in one raises or costs a neighbour."""

import json
from typing import Any, get_args

import msgspec
import pytest

from notifier.message import MAX_BYTES, Message
from producers.payload_mapping import Mapping, PayloadMapping
from producers.payload_mapping.ready import ReadyName
from tests.rigs.payload_samples import ODD, Sample, altered, places, samples
from tests.rigs.repository import ROOT

SAMPLES = samples()
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


def ready(name: str, **more: Any) -> PayloadMapping:
    return PayloadMapping(Mapping.model_validate({"ready": name, **more}))


def check(messages: list[dict[str, Any]]) -> None:
    """Each can be written as a message, says something, and has an id of its own."""
    for message in messages:
        data = msgspec.json.encode({**message, "producer": "ci"})
        assert len(data) <= MAX_BYTES
        assert Message.decode(data).content.strip()
    ids = [message["id"] for message in messages if "id" in message]
    assert len(ids) == len(set(ids))


def test_each_ready_mapping_has_a_sample() -> None:
    assert {sample.mapping for sample in SAMPLES} == set(get_args(ReadyName))


@each_sample
def test_a_real_payload_becomes_the_messages_beside_it(sample: Sample) -> None:
    read = ready(sample.mapping).read(sample.payload, sample.headers)
    assert read.messages == sample.messages
    assert read.problems == []
    check(read.messages)


@each_sample
def test_the_docs_show_the_first_message(sample: Sample) -> None:
    message = sample.messages[0]
    title, content = (" / ".join(message.get(field, "").splitlines()) for field in ("title", "content"))
    labels = ", ".join(f"`{name}={value}`" for name, value in sorted(message["labels"].items()))
    row = f"| `{sample.name}` | {title} | {content} | {message.get('severity', '')} | {labels} |\n"
    assert row in (ROOT / "docs/payload-mapping.md").read_text(encoding="utf-8")


@each_sample
def test_the_same_payload_gives_the_same_ids(sample: Sample) -> None:
    again = ready(sample.mapping).messages(json.loads(json.dumps(sample.payload)), sample.headers)
    assert [message.get("id") for message in again] == [message.get("id") for message in sample.messages]


@each_sample
def test_nothing_odd_at_any_place_raises_or_costs_a_neighbour(sample: Sample) -> None:
    mapping = ready(sample.mapping)
    for place in places(sample.payload):
        # The list whose members become a message each; what is odd in one of them is of no concern to the others.
        within = next((at for at in range(len(place)) if isinstance(place[at], int) and len(sample.messages) > 1), None)
        for odd in ODD:
            messages = mapping.messages(altered(sample.payload, place, odd), sample.headers)
            check(messages)
            if within is not None and within <= 2:
                others = [one for number, one in enumerate(sample.messages) if number != place[within]]
                assert [one for one in others if one in messages] == others, place


@each_sample
def test_an_unknown_event_and_no_headers_at_all_are_told(sample: Sample) -> None:
    mapping = ready(sample.mapping)
    for headers in ({}, dict.fromkeys(sample.headers, "of-the-future"), dict.fromkeys(sample.headers, "")):
        messages = mapping.messages(sample.payload, headers)
        assert messages
        check(messages)


@pytest.mark.parametrize("name", get_args(ReadyName))
@pytest.mark.parametrize("payload", [None, "", "text", 5, [], {}, [{}], {"a": 1}, {"Type": "x"}, {"alerts": [{}, 5]}])
def test_what_another_service_sent_is_shown(name: str, payload: object) -> None:
    messages = ready(name).messages(payload, {})
    check(messages)
    assert messages or payload in (None, [])


def test_a_ready_mapping_can_be_changed_part_by_part() -> None:
    sample = next(sample for sample in SAMPLES if sample.name == "grafana")
    mapping = ready("grafana", receiver="labels.team", severity="'critical'", labels={"team": "'all'", "zone": "none"})
    one, two, left_out = mapping.messages(sample.payload, sample.headers)
    assert (one["receiver"], one["severity"], one["content"]) == ("blue", "critical", sample.messages[0]["content"])
    assert one["labels"] == {**sample.messages[0]["labels"], "team": "all"}
    assert two["receiver"] == "blue"
    assert "receiver" not in left_out


def test_a_cloudevent_of_kafka_has_other_names_of_headers() -> None:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "7",
        "ce_type": "com.example.a",
        "ce_source": "/a",
        "content-type": "text/plain",
    }
    assert ready("cloudevents").messages("hello", headers) == [
        {
            "title": "com.example.a",
            "content": "hello",
            "labels": {"source": "/a", "type": "com.example.a"},
            "id": "/a#7",
        }
    ]


def test_addresses_that_act_are_not_told() -> None:
    ping = {"name": None, "ping_url": "https://hc-ping.com/5bf66975", "update_url": "https://hc.example/api/5bf66975"}
    assert "5bf66975" not in json.dumps(ready("healthchecks").messages({"check": ping}, {}))
    assert ready("sns").messages({"Type": "SubscriptionConfirmation", "Token": "2336412f37"}, {}) == []
