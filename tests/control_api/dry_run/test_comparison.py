"""A dry run counts the deliveries that a router makes, and says in words why one is made by one version only."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_api.dry_run import quick
from control_api.dry_run.comparison import Comparison
from control_api.dry_run.report import Report, Samples
from control_api.dry_run.version import Version
from control_api.dry_run.world import compare
from notifier.catalog import Catalog
from tests.rigs.routed import BEGINNING, CHANGES, CONFIGURATIONS, MESSAGES, NOW, Routed, changed, deliveries_of


class Rec(NamedTuple):
    """A record of a partition."""

    offset: int
    value: bytes | None
    timestamp: int = round(NOW.timestamp() * 1000)
    partition: int = 3


def records(*messages: Mapping[str, Any] | bytes | None) -> list[Rec]:
    """Messages as they lie on the topic."""
    return [
        Rec(offset, json.dumps(message).encode() if isinstance(message, dict) else message)  # type: ignore[arg-type]
        for offset, message in enumerate(messages)
    ]


def compared(catalog: Catalog, name: str, draft: Mapping[str, Any] | None, recs: list[Rec]) -> tuple[Report, Samples]:
    """What a comparison of the stored configuration with a draft reports."""
    drafted = None
    if draft is not None:
        drafted = changed(catalog, [("configuration", name, draft)], 99).configurations[name]
    comparison = Comparison(
        Version(catalog, name, catalog.configurations.get(name)),
        None if draft is None else Version(catalog, name, drafted),
    )
    comparison.judge(recs)
    return comparison.report, comparison.samples


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(changes=CHANGES, draft=CONFIGURATIONS, messages=st.lists(MESSAGES, min_size=1, max_size=12))
def test_a_dry_run_counts_what_a_router_delivers(
    monkeypatch: pytest.MonkeyPatch, changes: Any, draft: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("streams.router.router.now", lambda: NOW)
    now = changed(BEGINNING, changes, 2)
    then = changed(now, [("configuration", "c0", draft)], 3)
    by_now = _delivered(now, messages)
    by_draft = _delivered(then, messages)
    report, samples = compared(now, "c0", draft, records(*messages))
    assert report.messages == len(messages)
    assert (report.delivers_now, report.would_deliver) == (len(by_now), len(by_draft))
    assert (report.added, report.dropped) == (len(by_draft - by_now), len(by_now - by_draft))
    names = [message.get("id") or f"3-{number}-{Rec(0, b'').timestamp}" for number, message in enumerate(messages)]
    for shown_as, only in ((samples.added, by_draft - by_now), (samples.dropped, by_now - by_draft)):
        shown = sorted((sample.message, sample.consumer, sample.recipient or "") for sample in shown_as)
        assert shown == sorted((names[number], consumer, recipient or "") for number, consumer, recipient in only)
        assert all(sample.why for sample in shown_as)


def test_a_message_that_had_expired_is_not_delivered_in_a_dry_run() -> None:
    message = {"producer": "p0", "content": "x", "receiver": "u0"}
    late, in_time = {**message, "expires_at": "2026-11-26T10:07:00Z"}, {**message, "expires_at": "2026-11-26T10:08:00Z"}
    report, samples = compared(WORLD, "c0", {"producers": ["p0"], "consumers": []}, records(late, in_time))
    assert (report.considered, report.delivers_now) == (2, 1)
    assert [sample.message for sample in samples.dropped] == [f"3-1-{Rec(0, b'').timestamp}"]


def _delivered(catalog: Catalog, messages: list[dict[str, Any]]) -> set[tuple[int, str, str | None]]:
    routed = Routed(catalog)
    return {
        (number, consumer, recipient)
        for number, message in enumerate(messages)
        for (configuration, consumer, recipient), _ in deliveries_of(routed.route(message))
        if configuration == "c0"
    }


WORLD = changed(
    BEGINNING,
    [
        ("user", "u1", {"on_leave": True}),
        ("user", "u2", {"additional_info": {"chat": {"id": 5}}}),
        ("configuration", "c0", {"users": ["u0", "u1"], "producers": ["p0"], "filters": ["no-wip"], "consumers": ["room"]}),
    ],
    2,
)  # fmt: skip
WIP = {"producer": "p0", "id": "m", "content": "wip: later", "receiver": "u0"}


@pytest.mark.parametrize(
    ("draft", "message", "why"),
    [
        ({"filters": []}, WIP,
         "u0 would not get it: c0 would drop it, because no-wip says that the content contains 'wip'."),
        ({"filters": [], "consumers": ["file"]}, WIP, "c0 does not name the consumer file"),
        ({"producers": ["p1"]}, {**WIP, "producer": "p1", "content": "x"},
         "u0 would not get it by c0: c0 does not consider messages of the producer p1."),
        ({"users": ["u2"], "consumers": ["room", "direct"]}, {"producer": "p0", "content": "x"},
         "c0 does not name the consumer direct"),
    ],
    ids=["a filter", "a consumer", "a producer", "a consumer of people"],
)  # fmt: skip
def test_an_added_delivery_says_why_it_is_not_made_now(
    draft: dict[str, Any], message: dict[str, Any], why: str
) -> None:
    spec = {"users": ["u0", "u1"], "producers": ["p0"], "filters": ["no-wip"], "consumers": ["room"], **draft}
    _, samples = compared(WORLD, "c0", spec, records(message))
    assert [sample.why for sample in samples.added] == [why]


def test_a_dropped_delivery_says_what_the_draft_says() -> None:
    spec = {"users": ["u0", "u1"], "producers": ["p0"], "filters": ["at-work"], "consumers": ["room"]}
    message = {**WIP, "receiver": "u1", "content": "x" * 500}
    _, samples = compared(WORLD, "c0", spec, records(message))
    (sample,) = samples.dropped
    assert (sample.recipient, sample.consumer, sample.at) == ("u1", "room", NOW)
    assert sample.text == "x" * 119 + "…"
    assert sample.why == "u1 would not get it: c0 would drop it, because at-work says that u1 is on leave."


def test_a_configuration_that_is_not_stored_delivers_nothing_now() -> None:
    spec = {"producers": ["p0"], "consumers": ["room"]}
    report, samples = compared(
        WORLD, "new", spec, records(WIP, {**WIP, "configuration": "new"}, {**WIP, "configuration": "c0"})
    )
    assert (report.delivers_now, report.would_deliver, report.added) == (0, 2, 2)
    assert samples.added[0].why == "u0 would not get it by new: there is no configuration 'new'."


def test_odd_records_cost_themselves_and_are_counted() -> None:
    odd = [
        None, b"", b"{", b"[1]", b"null", b'{"producer":"p0"}', b'{"producer":"p0","content":"\xff"}',
        b'{"producer":"p0","content":"x","v":2}', b'{"producer":"p0","content":"' + b"x" * 900_000 + b'"}',
        b'{"producer":"p0","content":' + b"[" * 5000, b"\xff\xfe",
    ]  # fmt: skip
    good = {"producer": "p0", "content": "x", "receiver": "", "occurred_at": "0001-01-01T00:00:00Z"}
    report, _ = compared(WORLD, "c0", None, records(*odd, good))
    assert (report.messages, report.unreadable) == (len(odd) + 1, len(odd))
    assert (report.considered, report.would_deliver, report.delivers_now) == (1, 1, 1)


def test_a_filter_that_fails_is_counted_and_a_consumer_that_fails_costs_its_messages() -> None:
    spec = {"producers": ["p0"], "filters": ["moody"], "consumers": ["room"]}
    report, _ = compared(WORLD, "c0", spec, records({**WIP, "content": "prod"}, WIP))
    assert (report.failed, report.would_deliver) == (1, 1)


def test_each_message_is_judged_by_its_own_time() -> None:
    catalog = changed(
        WORLD,
        [
            ("user", "u0", {"working_time": {"start": "09:00", "end": "18:00", "timezone": "UTC"}}),
            ("configuration", "c0", {"producers": ["p0"], "filters": ["at-work"], "consumers": ["room"]}),
        ],
        3,
    )
    value = json.dumps({**WIP, "content": "x"}).encode()
    hours = [
        Rec(hour, value, round((NOW.replace(minute=0) + timedelta(hours=hour)).timestamp() * 1000))
        for hour in range(24)
    ]
    assert compared(catalog, "c0", None, hours)[0].would_deliver == 9


def test_samples_are_bounded() -> None:
    spec = {"producers": ["p0"], "consumers": ["room", "file"]}
    report, samples = compared(WORLD, "new", spec, records(*[WIP] * 300))
    assert report.added == 600
    assert len(samples.added) == 100


def test_a_sample_can_be_stored_whatever_any_client_names_a_message() -> None:
    draft = {"users": ["u0", "u1", "u2"], "producers": ["p0"], "consumers": ["room"]}
    _, samples = compared(
        WORLD, "c0", draft, records({"producer": "p0", "id": "a\0b", "receiver": "u0", "content": "wip"})
    )
    assert [sample.message for sample in samples.added + samples.dropped] == ["a\N{SYMBOL FOR NULL}b"]


def test_a_draft_shares_who_is_who_with_the_stored_version() -> None:
    fresh = replace(WORLD, revision=3)  # nobody has asked it yet who is who
    comparison = compare(fresh, "c0", {"users": ["u0"], "producers": ["p0"], "consumers": ["room"]})
    assert comparison.draft is not None
    assert comparison.draft.knows_all_of(comparison.now)


def test_names_that_a_client_makes_up_are_judged_and_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "MOST_NAMES", 3)
    spec = {"producers": ["p0"], "consumers": ["room"]}
    strangers = [{**WIP, "content": "x", "receiver": f"nobody{number}"} for number in range(9)]
    report, _ = compared(WORLD, "c0", spec, records(*strangers, WIP, *strangers, WIP, {**WIP, "receiver": "U0"}))
    assert report.would_deliver == 3
