"""What Alertmanager's webhook becomes: pure, without a server."""

import copy
import json
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import Hook, Message
from notifier.errors import InputError
from notifier.message import MAX_BYTES
from notifier.record import JsonObject
from producers.prometheus import Prometheus
from producers.prometheus.alert import fingerprint_of
from tests.rigs.alerts import GO_ZERO, alert, webhook
from tests.rigs.plugin_world import context_without_scripts


def producer(**parameters: Any) -> Prometheus:
    return Prometheus(Prometheus.Parameters.model_validate(parameters))


async def told(payload: object, **parameters: Any) -> list[JsonObject]:
    """The messages of a payload, each checked to be one."""
    received = await producer(**parameters).received(
        Hook(door="alertmanager", payload=payload), context_without_scripts("alerts")
    )
    for message in received.messages:
        raw = msgspec.json.encode({**message, "producer": "alerts"})
        assert len(raw) <= MAX_BYTES
        Message.decode(raw)
    return list(received.messages)


async def test_an_alert_that_fires_and_its_end_are_messages() -> None:
    fires, ends = await told(webhook(alert(), alert(status="resolved")), receiver_label="owner")
    assert fires == {
        "id": "8f6e0a6c2d1b4c3e-firing-2026-11-29T09:00:00Z",
        "fingerprint": "8f6e0a6c2d1b4c3e",
        "title": "[FIRING] DiskFull",
        "content": "The disk of db1 is full\n98 % of /var are used",
        "labels": {**alert()["labels"], "status": "firing"},
        "receiver": "alice",
        "severity": "critical",
        "url": "http://prometheus.example:9090/graph?g0.expr=disk&g0.tab=1",
        "occurred_at": "2026-11-29T09:00:00Z",
    }
    assert ends == fires | {
        "id": "8f6e0a6c2d1b4c3e-resolved-2026-11-29T10:00:00Z",
        "title": "[RESOLVED] DiskFull",
        "labels": {**alert()["labels"], "status": "resolved"},
        "occurred_at": "2026-11-29T10:00:00Z",
    }


async def test_the_same_alert_again_has_the_same_id_and_another_none_of_its_own() -> None:
    again = alert(annotations={"summary": "worded otherwise"}, endsAt="2026-11-29T09:05:00Z")
    later = alert(startsAt="2026-11-30T09:00:00Z")
    first, repeated, new = await told(webhook(alert(), again, later))
    assert first["id"] == repeated["id"] != new["id"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"annotations": {"summary": "s"}}, {"content": "s"}),
        ({"annotations": {"description": "d"}}, {"content": "d"}),
        ({"annotations": {"summary": "s", "description": "s"}}, {"content": "s"}),
        ({"annotations": {"message": "m", "runbook": "r"}}, {"content": "m"}),
        ({"annotations": {"runbook": "r"}}, {"content": "runbook: r"}),
        ({"annotations": None, "labels": {"alertname": "X", "a": "b"}}, {"content": "alertname=X\na=b"}),
        ({"annotations": {}, "labels": None}, {"content": "An alert without labels and annotations"}),
        ({"labels": {"alertname": "X", "severity": "page"}}, {"severity": "critical", "title": "[FIRING] X"}),
        ({"labels": {"alertname": "X", "severity": "WARN"}}, {"severity": "warning"}),
        ({"labels": {"severity": "ticket"}}, {"severity": None, "title": "[FIRING]"}),
        ({"labels": {"a": 1, "b": True, "c": None, "d": ["x"]}}, {"labels": {"a": "1", "b": "true", "d": '["x"]'}}),
        ({"labels": {"a": "x\ud800\0y"}}, {"labels": {"a": "x?y"}}),
        ({"labels": {"owner": " "}}, {"receiver": None}),
        ({"generatorURL": "javascript:alert(1)"}, {"url": "http://alertmanager.example:9093"}),
        ({"generatorURL": None}, {"url": "http://alertmanager.example:9093"}),
        ({"startsAt": GO_ZERO}, {"occurred_at": None, "id": "8f6e0a6c2d1b4c3e-firing"}),
        ({"startsAt": "soon"}, {"occurred_at": None}),
        ({"startsAt": "2026-11-29T09:00:00"}, {"occurred_at": None}),
        ({"startsAt": "9999-12-31T23:59:59-05:00"}, {"occurred_at": None}),
        ({"startsAt": "2026-11-29T12:00:00+03:00"}, {"occurred_at": "2026-11-29T09:00:00Z"}),
        ({"status": None}, {"title": "[FIRING] DiskFull"}),
        ({"status": "Resolved"}, {"title": "[RESOLVED] DiskFull"}),
        ({"fingerprint": None, "labels": {"a": "b"}}, {"fingerprint": fingerprint_of({"a": "b"})}),
    ],
)
async def test_what_is_missing_or_odd_is_left_out(change: JsonObject, expected: JsonObject) -> None:
    (message,) = await told(webhook(alert(**change)), receiver_label="owner")
    if "labels" in expected:
        expected = {"labels": {**expected["labels"], "status": "firing"}}
    assert {name: message.get(name) for name in expected} == expected


async def test_what_is_too_long_is_cut_and_says_so() -> None:
    long = {f"label-{number}": "ü" * 5_000 for number in range(300)}
    (message,) = await told(webhook(alert(labels=long, annotations={"summary": "\x01" * 900_000, "x": "y"})))
    assert message["content"].endswith("…")
    assert len(message["labels"]) == 101
    assert message["labels"]["label-0"].endswith("…")


async def test_an_odd_alert_costs_none_of_its_neighbours() -> None:
    messages = await told(webhook(None, alert(), 7, ["x"], "text", {}))
    assert [message["content"].partition(" ")[0] for message in messages] == ["The", "An", *["Among"] * 4]
    assert len({message["id"] for message in messages}) == len(messages)
    assert 'Among the alerts stands what is none: ["x"]' in [message["content"] for message in messages]


async def test_what_alertmanager_left_out_is_said() -> None:
    _, more = await told(webhook(alert(), truncatedAlerts=12))
    assert more["content"].startswith("Alertmanager left out 12 more alerts")
    assert [len(await told(webhook(alert(), truncatedAlerts=odd))) for odd in (0, None, "3", True, -1, 1.5)] == [1] * 6


@pytest.mark.parametrize("payload", [None, 7, "text", [], [alert()], {}, {"alerts": None}, {"alerts": {}}])
async def test_another_payload_is_refused(payload: object) -> None:
    with pytest.raises(InputError) as refused:
        await told(payload)
    assert refused.value.errors[0].pointer == "/alerts"


async def test_matchers_choose_alerts() -> None:
    payload = webhook(alert("A"), alert("B", labels={"alertname": "B", "team": "web"}), alert("C"))
    titles = [message["title"] for message in await told(payload, matchers=["alertname=~A|B", "team!=infra"])]
    assert titles == ["[FIRING] A", "[FIRING] B"]
    hook = Hook(door="alertmanager", payload=payload)
    received = await producer(matchers=['{team="web"}']).received(hook, context_without_scripts("alerts"))
    assert received.detail == "2 of 3 alerts do not match `matchers`"
    assert len(received.messages) == 1
    none = await producer(matchers=["team=none"], per="group").received(hook, context_without_scripts("alerts"))
    assert (none.messages, none.detail) == ([], "3 of 3 alerts do not match `matchers`")


async def test_a_group_is_one_message() -> None:
    warned = alert(labels={"alertname": "DiskFull", "severity": "warning", "owner": "alice"}, fingerprint="1")
    payload = webhook(alert(), warned, alert(status="resolved", fingerprint="2"))
    (message,) = await told(payload, per="group", receiver_label="owner")
    assert message["title"] == "[FIRING:2] DiskFull"
    assert message["content"].splitlines()[2] == "resolved: The disk of db1 is full 98 % of /var are used"
    assert message["labels"] == {"alertname": "DiskFull", "severity": "critical", "status": "firing"}
    assert (message["severity"], message["receiver"]) == ("critical", "alice")
    assert message["url"] == "http://alertmanager.example:9093"
    (again,) = await told(webhook(*reversed(payload["alerts"])), per="group")
    assert again["id"] == message["id"]
    assert "receiver" not in again
    ended = webhook(*(alert(status="resolved", fingerprint=str(number)) for number in range(1_000)))
    (end,) = await told(ended, per="group")
    assert end["title"] == "[RESOLVED:1000] DiskFull"
    assert end["fingerprint"] == message["fingerprint"]
    assert end["content"].endswith("more alerts")
    assert end["id"] != message["id"]


async def test_two_thousand_alerts_of_five_megabytes_are_taken() -> None:
    many = [alert(f"Alert{number}", fingerprint=f"{number:016x}", more="x" * 2_100) for number in range(2_000)]
    payload = webhook(*many)
    assert len(json.dumps(payload)) > 5_000_000
    messages = await told(payload)
    assert len({message["id"] for message in messages}) == 2_000


_ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=20),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just({"a": None}),
)


@given(st.data())
async def test_nothing_in_a_payload_raises_or_costs_a_neighbour(data: st.DataObject) -> None:
    payload = copy.deepcopy(webhook(alert(), alert("Other", fingerprint="1")))
    one = payload["alerts"][0]
    holder = data.draw(st.sampled_from([payload, one, one["labels"], one["annotations"]]))
    name = data.draw(st.sampled_from([name for name in holder if name != "alerts"]))
    if data.draw(st.booleans()):
        del holder[name]
    else:
        holder[name] = data.draw(_ODD)
    per = data.draw(st.sampled_from(["alert", "group"]))
    messages = await told(payload, per=per, receiver_label="owner")
    assert len(messages) >= (2 if per == "alert" else 1)
    if per == "alert":
        assert messages[1]["title"] == "[FIRING] Other" or "status" not in payload or payload["status"] != "firing"


def test_fingerprints_are_those_of_alertmanager() -> None:
    # The empty set is the start of the sum; the other is held to a running Alertmanager in `test_asking`.
    assert fingerprint_of({}) == "cbf29ce484222325"


async def test_few_large_alerts_are_read_beside_the_loop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def matches(*_: object) -> bool:
        threads.append(threading.current_thread())
        return True

    monkeypatch.setattr(Prometheus, "_matches", matches)
    assert len(await told(webhook(alert()))) == 1
    assert threads
    assert threading.main_thread() not in threads
