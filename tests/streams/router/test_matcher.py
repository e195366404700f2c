"""The compiled form of the configurations decides as the plain one does, whatever is defined and however it changes."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters.decision import Judge, members_of
from notifier.catalog import Catalog
from notifier.group import Group
from notifier.message import Message
from notifier.plugin import Candidate
from streams.router.route import Step
from streams.router.undelivered import NAMED_DROPS
from tests.rigs.routed import (
    BEGINNING,
    CHANGES,
    MESSAGES,
    NOW,
    POOL,
    Boss,
    Routed,
    attempts_of,
    changed,
    deliveries_of,
    failures_of,
)

_LIMITS: dict[str, dict[str, float]] = {  # ordinary; and so low that each other way is taken
    "": {},
    "bits": {"matcher.MAX_ANY": -1, "index.FEW": 1, "matcher.MAX_COMBINED": 2, "matcher.MAX_NAMES": 0},
    "many": {"matcher.MAX_MASKED": 1, "router.MANY": 1, "router.SLICE_S": 0.0},
}


@pytest.mark.parametrize("limits", _LIMITS)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rounds=st.lists(st.tuples(CHANGES, st.lists(MESSAGES, min_size=1, max_size=12)), min_size=1, max_size=4))
def test_the_compiled_form_decides_as_the_plain_one(
    limits: str, monkeypatch: pytest.MonkeyPatch, rounds: list[tuple[Any, list[dict[str, Any]]]]
) -> None:
    for name, value in _LIMITS[limits].items():
        monkeypatch.setattr(f"streams.router.{name}", value)
    catalog = BEGINNING
    routed = Routed(catalog)
    for revision, (changes, messages) in enumerate(rounds, start=2):
        catalog = changed(catalog, changes, revision)
        routed.router._use(catalog)
        judge = Judge(catalog)
        expected_counts: Counter[tuple[str, str]] = Counter()
        counts: Counter[tuple[str, str]] = Counter()
        for message in messages:
            outputs = routed.route(message)
            decision = judge.decide(Message.decode(json.dumps(message).encode()), NOW)
            expected_counts.update(
                (judgement.configuration.name, drop.reason)
                for judgement in decision.judgements
                for drop in judgement.dropped
            )
            deliveries = dict(deliveries_of(outputs))
            wanted = {
                (judgement.configuration.name, consumer, None if user is None else user.username)
                for judgement in decision.judgements
                for consumer, user in _wanted(catalog, judgement, decision.receiver is None)
            }
            refused = {
                (attempt.configuration, attempt.consumer, attempt.recipient)
                for attempt in attempts_of(outputs)
                if attempt.consumer
            }
            assert set(deliveries) | refused == wanted, message
            assert not set(deliveries) & refused
            failures = failures_of(outputs)
            assert {name: (letter.reason, letter.error.partition(": ")[2]) for name, letter in failures.items()} == {
                judgement.configuration.name: (judgement.failure.reason, str(judgement.failure))
                for judgement in decision.judgements
                if judgement.failure is not None
            }
            assert len(outputs.get("dead_letters", [])) == len(failures) + (
                decision.problem in ("unknown_producer", "unknown_configuration")
            )
            for (name, _, recipient), delivery in deliveries.items():
                judgement = next(each for each in decision.judgements if each.configuration.name == name)
                assert delivery.configuration_version == judgement.configuration.version
                if recipient is None:
                    assert delivery.recipients == tuple(user.username for user in judgement.passed if user is not None)
            attempts_of(outputs)
            if not wanted and not failures and decision.problem is None:
                _check_told(catalog, message, decision, outputs)
            elif failures:
                assert all(attempt.consumer for attempt in attempts_of(outputs))  # none says that it was filtered
            if len(message) % 2:  # counts may be taken at any time
                counts.update(routed.counts())
        assert counts + routed.counts() == expected_counts


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        (["at-work", "exists"], "on_leave"),
        (["exists", "at-work"], "filtered"),
        (["no-wip", "at-work", "infra"], "on_leave"),
        (["infra", "at-work", "exists"], "filtered"),
    ],
)
def test_the_reason_is_that_of_the_first_filter_that_drops(filters: list[str], reason: str) -> None:
    spec = {"users": ["u1"], "producers": ["p0"], "filters": filters, "consumers": ["file"]}
    catalog = changed(BEGINNING, [("user", "u0", {"on_leave": True}), ("configuration", "c0", spec)], 2)
    routed = Routed(catalog)
    (attempt,) = attempts_of(routed.route({"producer": "p0", "receiver": "u0", "content": "x"}))
    assert attempt.reason == reason
    assert routed.counts() == {("c0", reason): 1}


def _wanted(catalog: Catalog, judgement: Any, for_all: bool) -> Iterator[tuple[str, Any]]:
    """What a judgement asks for: consumers with the users, none for everyone."""
    if not judgement.passed:
        return
    for consumer in judgement.configuration.spec.consumers:
        plugin = catalog.consumers.get(consumer)
        everyone = for_all and (plugin is None or plugin.fixed_address() or judgement.passed == [None])
        for user in [None] if everyone else judgement.passed:
            yield consumer, user


def _check_told(
    catalog: Catalog, message: Mapping[str, Any], decision: Any, outputs: Mapping[str, list[bytes]]
) -> None:
    """A message that nobody gets has one attempt, whose reason and filters are true."""
    (attempt,) = attempts_of(outputs)
    drops = [(judgement, drop) for judgement in decision.judgements for drop in judgement.dropped]
    reasons = {drop.reason for _, drop in drops}
    assert attempt.reason == (reasons.pop() if len(reasons) == 1 else "filtered")
    assert attempt.detail is not None
    named = [part.split(": ", 1) for part in attempt.detail.split(" and ")[0].split(", ") if ": " in part]
    if not drops:
        return
    dropping = [judgement for judgement in decision.judgements if judgement.dropped]
    assert named
    assert len(named) <= NAMED_DROPS
    for name, said in named:
        judgement = next(each for each in dropping if each.configuration.name == name)
        filter_ = said.split(" (")[0]
        if filter_ in catalog.filters:
            assert filter_ in judgement.configuration.spec.filters
            receiver = decision.receiver
            asked = [
                Candidate(
                    message=Judge(catalog).mapped(Message.decode(json.dumps(message).encode())),
                    users=judgement.configuration.users,
                    at=NOW,
                    sender=decision.sender,
                    receiver=one,
                )
                for one in (members_of(catalog, receiver) if isinstance(receiver, Group) else [receiver])
            ]
            if receiver is not None:
                step = Step(filter_, catalog.filters[filter_])
                assert not all(step.filter.passes(candidate) for candidate in asked)
        else:
            assert said == "unknown_receiver"


LETTERS = [
    ("faulty", "filter_failed", "the filter faulty failed: RuntimeError: out of order"),
    ("not-faulty", "filter_failed", "the filter not-faulty failed: RuntimeError: out of order"),
    (
        "unknown",
        "filter_unusable",
        "the filter 'unknown' cannot be used: /type: there is no filter type 'from-elsewhere'",
    ),
    ("misfit", "filter_unusable", "the filter 'misfit' cannot be used: /parameters/at_least: must be"),
    ("undefined", "filter_unusable", "there is no filter 'undefined'"),
]


@pytest.mark.parametrize(("filter_", "reason", "error"), LETTERS)
@pytest.mark.parametrize("receiver", [{"receiver": "u0"}, {}])
def test_a_filter_that_fails_costs_one_dead_letter_of_its_configuration(
    filter_: str, reason: str, error: str, receiver: dict[str, str]
) -> None:
    spec = {"users": ["u0", "u1"], "producers": ["p0"], "consumers": ["file", "direct", "room"]}
    catalog = changed(
        BEGINNING,
        [
            ("configuration", "c0", {**spec, "filters": ["exists", filter_, "any"]}),
            ("configuration", "c1", {**spec, "filters": ["any"], "consumers": ["file"]}),
            ("configuration", "c2", {**spec, "filters": ["only-prod", filter_]}),
        ],
        2,
    )
    routed = Routed(catalog)
    for _ in range(2):  # the second time by what was kept of the first
        message = {"producer": "p0", "id": "a/b", "content": "x", **receiver}
        outputs = routed.route(message)
        assert {name for (name, _, _), _ in deliveries_of(outputs)} == {"c1"}
        assert attempts_of(outputs) == []
        (letter,) = failures_of(outputs).values()  # c2 drops the message for a reason of its own
        assert (letter.id, letter.stage, letter.reason) == ("p0/a%2Fb/c0", "route", reason)
        assert letter.error.startswith(f"the configuration c0 cannot judge it: {error}")
        assert (letter.producer, letter.message, letter.delivery) == ("p0", "a/b", None)
        assert (letter.topic, letter.partition, letter.offset) == ("messages", 3, routed.offset - 1)
        assert json.loads(letter.value or "") == message
    assert routed.counts() == {("c2", "filtered"): 4 if not receiver else 2}


@pytest.mark.parametrize("filter_", ["lenient", "lenient-moody", "unknown-lenient", "misfit-lenient"])
def test_a_filter_that_fails_lets_pass_where_it_says_so(filter_: str) -> None:
    spec = {"users": ["u1"], "producers": ["p0"], "filters": [filter_, "exists"], "consumers": ["file"]}
    routed = Routed(changed(BEGINNING, [("configuration", "c0", spec)], 2))
    outputs = routed.route({"producer": "p0", "receiver": "u1", "content": "prod"})
    assert {name for (name, _, _), _ in deliveries_of(outputs)} == {"c0"}
    assert outputs.keys() == {"deliveries.file"}


def test_a_message_that_a_filter_cannot_judge_for_one_user_goes_to_none() -> None:
    spec = {"users": ["u0", "u1", "u2"], "producers": ["p0"], "filters": ["moody"], "consumers": ["file", "direct"]}
    routed = Routed(changed(BEGINNING, [("configuration", "c0", spec)], 2))
    outputs = routed.route({"producer": "p0", "content": "a draft"})
    assert outputs.keys() == {"dead_letters"}
    assert failures_of(outputs).keys() == {"c0"}
    assert failures_of(routed.route({"producer": "p0", "receiver": "u0", "content": "a draft"})) == {}


def test_a_filter_that_becomes_usable_judges_again() -> None:
    spec = {"users": ["u0"], "producers": ["p0"], "filters": ["f"], "consumers": ["file"]}
    catalog = changed(BEGINNING, [("configuration", "c0", spec)], 2)
    routed = Routed(catalog)
    message = {"producer": "p0", "receiver": "u0", "content": "wip"}
    for revision, (name, topic, cause) in enumerate(
        [
            (None, "dead_letters", "there is no filter"),
            ("unknown", "dead_letters", "there is no filter type"),
            ("misfit", "dead_letters", "at_least"),
            ("unknown-lenient", "deliveries.file", ""),
            ("unknown", "dead_letters", "there is no filter type"),
            ("no-wip", "attempts", ""),
            ("unknown", "dead_letters", "there is no filter type"),
            ("only-prod", "attempts", ""),
            (None, "dead_letters", "there is no filter"),
        ],
        start=3,
    ):
        catalog = changed(catalog, [("filter", "f", None if name is None else POOL[name])], revision)
        routed.router._use(catalog)
        outputs = routed.route(message)
        assert outputs.keys() == {topic}, name
        assert all(cause in letter.error for letter in failures_of(outputs).values())


@pytest.mark.parametrize("answer", ["later", NOW.replace(tzinfo=None), 7, NOW])
def test_a_time_that_is_none_costs_nothing_but_speed(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Boss, "holds_until", lambda self, candidate: answer)
    monkeypatch.setattr(Boss, "lookup", lambda self, users: ("receiver", users))
    spec = {"users": ["u0"], "producers": ["p0"], "filters": ["boss"], "consumers": ["file"]}
    routed = Routed(changed(BEGINNING, [("configuration", "c0", spec)], 2))
    for _ in range(3):
        assert routed.route({"producer": "p0", "receiver": "u0", "content": "x"}).keys() == {"deliveries.file"}
        assert routed.route({"producer": "p0", "receiver": "u2", "content": "x"}).keys() == {"attempts"}


def test_a_change_compiles_what_it_changed_and_nothing_else() -> None:
    spec = {"producers": ["p0"], "filters": ["exists", "no-wip"], "consumers": ["file"], "users": ["u0"]}
    catalog = changed(BEGINNING, [("configuration", f"c{number}", spec) for number in range(50)], 2)
    routed = Routed(catalog)
    before = dict(routed.router._matcher._routes)
    routed.router._use(changed(catalog, [("configuration", "c7", spec)], 3))
    after = routed.router._matcher._routes
    assert {name for name in after if after[name] is not before.get(name)} == {"c7"}
    before, plans = dict(after), dict(routed.router._matcher.plans)
    routed.router._use(changed(routed.router._matcher.catalog, [("template", "footer", {"content": "x"})], 4))
    assert routed.router._matcher._routes == before
    assert all(plans[name] is plan for name, plan in routed.router._matcher.plans.items())
    found = deliveries_of(routed.route({"producer": "p0", "receiver": "u0", "content": "x"}))
    assert {name: delivery.configuration_version for (name, _, _), delivery in found} == {
        **{f"c{number}": 2 for number in range(50)},
        "c7": 3,
    }


@pytest.mark.parametrize("names", [["a", "z"], ["z", "a"], ["m", "b"], ["b", "m"]])
def test_a_configuration_that_takes_the_place_of_another_is_judged_by_its_own_rule(names: list[str]) -> None:
    """One goes while another comes: the second may get the place in the index that the first had, now or later."""
    first, second = names
    catalog = BEGINNING
    routed = Routed(catalog)

    def spec(consumer: str) -> dict[str, Any]:
        return {"users": [], "producers": ["p0"], "filters": [], "consumers": [consumer]}

    rounds: list[tuple[list[Any], str, str]] = [
        ([("configuration", first, spec("file"))], first, "file"),
        ([("configuration", first, None), ("configuration", second, spec("file"))], second, "file"),
        ([("configuration", second, spec("room"))], second, "room"),
        ([("configuration", second, None), ("configuration", first, spec("file"))], first, "file"),
        ([("configuration", first, spec("room"))], first, "room"),
    ]
    for revision, (changes, name, consumer) in enumerate(rounds, start=2):
        catalog = changed(catalog, changes, revision)
        routed.router._use(catalog)
        ((found, delivery),) = deliveries_of(routed.route({"producer": "p0", "content": "x"}))
        assert (found, delivery.configuration_version) == ((name, consumer, None), revision)


def test_counts_are_right_when_messages_come_while_they_are_taken() -> None:
    """Three producers with configurations in common; between the parts of a tally every producer sends again."""
    producers = [["p0", "p1"], ["p0", "hub"], ["p1", "hub"], ["p0", "p1", "hub"]]
    changes = [
        (
            "configuration",
            f"c{number}",
            {"users": ["u0"], "producers": names, "filters": ["exists"], "consumers": ["file"]},
        )
        for number, names in enumerate(producers)
    ]
    routed = Routed(changed(BEGINNING, changes, 2))
    sent = 0

    def send() -> None:
        nonlocal sent
        sent += 1
        for producer in ("p0", "p1"):
            for receiver in ({"receiver": "u0"}, {"receiver": "u1"}, {}):
                routed.route({"producer": producer, "content": "x", **receiver})

    counts: Counter[tuple[str, str]] = Counter()
    for _ in range(3):
        send()
        for part in routed.router._matcher.tally():
            counts.update({(name, "filtered"): count for name, count in part.items()})
            send()
    counts.update(routed.counts())
    of_each = {"c0": 2, "c1": 1, "c2": 1, "c3": 2}  # producers of those that send, and the one message of each for u1
    assert counts == {(name, "filtered"): sent * count for name, count in of_each.items()}


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.router.matcher.MAX_NAMES", 10)
    routed = Routed(BEGINNING)
    for number in range(100):
        routed.route({"producer": "p0", "receiver": f"stranger-{number}", "content": "x"})
        (world,) = routed.router._matcher._worlds.values()
        assert len(world.people) <= 4 + 1 + 10  # users, a group, others
        routed.router._matcher.tidy()
    assert routed.router._matcher._forgotten == []
