"""The compiled form of the configurations holds what the plain one says, whatever is defined and however it changes."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters import BUILT_IN as FILTERS
from filters.decision import Judge
from notifier.attempt import Attempt
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.message import Message
from notifier.plugin import Candidate, Filter, FilterParameters, Lookup
from notifier.registry import Registry
from notifier.settings import load_settings
from notifier.working_time import DAYS, WorkingTime
from producers.push import Push
from streams.inputs.batch import Batch
from streams.router.index import Asked, Field, Index, slots_of
from streams.router.matcher import Step
from streams.router.router import NAMED_DROPS, Router
from tests.rigs.router_rig import Direct, Faulty, File, Github, Room


class Boss(Filter[FilterParameters]):
    """A plugin that declares a look at the receiver which has nothing to do with the configuration."""

    type = "boss"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        """Whether it is for u0 or u1."""
        return candidate.receiver is not None and candidate.receiver.username in ("u0", "u1")

    def lookup(self, users: frozenset[str]) -> Lookup:
        """The same."""
        return Lookup(field="receiver", values=frozenset(["u0", "u1"]))


class FaultyTest(Filter[FilterParameters]):
    """A plugin all of whose declarations raise."""

    type = "faulty_test"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        """Drops what is long."""
        return len(candidate.message.content) < 6

    def lookup(self, users: frozenset[str]) -> Lookup | None:
        """Raises."""
        raise RuntimeError("out of order")

    def test(self) -> Any:
        """Gives what raises."""

        def raises(message: Message) -> bool:
            raise RuntimeError("out of order")

        return raises


REGISTRY = Registry((Push, Github, *FILTERS, Faulty, Boss, FaultyTest, Room, File, Direct))
NOW = datetime(2026, 11, 26, 10, 7, tzinfo=UTC)  # a Thursday

PRODUCERS = ["p0", "p1", "hub"]
POOL: dict[str, dict[str, Any]] = {
    "exists": {"type": "receiver_exists"},
    "strangers": {"type": "receiver_exists", "parameters": {"negate": True}},
    "at-work": {"type": "receiver_working"},
    "off-work": {"type": "receiver_working", "parameters": {"negate": True}},
    "no-wip": {"type": "skip_keywords", "parameters": {"skip_keywords": ["wip", "draft"]}},
    "only-prod": {"type": "keep_keywords", "parameters": {"keep_keywords": ["PROD"], "ignore_case": True}},
    "not-prod": {"type": "keep_keywords", "parameters": {"keep_keywords": ["prod"], "negate": True}},
    "bad": {"type": "severity", "parameters": {"at_least": "error"}},
    "any": {"type": "severity", "parameters": {"at_least": "info"}},
    "mild": {"type": "severity", "parameters": {"at_least": "warning", "negate": True}},
    "infra": {"type": "labels", "parameters": {"matchers": ["team=infra"]}},
    "not-infra": {"type": "labels", "parameters": {"matchers": ["team=infra"], "negate": True}},
    "no-team": {"type": "labels", "parameters": {"matchers": ['team=""']}},
    "two": {"type": "labels", "parameters": {"matchers": ["team=~infra|web", "env!=test"]}},
    "from-u1": {"type": "sender", "parameters": {"senders": ["U1", "octocat"]}},
    "not-u1": {"type": "sender", "parameters": {"senders": ["u1"], "negate": True}},
    "digits": {"type": "regex", "parameters": {"pattern": "[0-9]+"}},
    "faulty": {"type": "faulty"},
    "faulty-test": {"type": "faulty_test"},
    "boss": {"type": "boss"},
    "not-boss": {"type": "boss", "parameters": {"negate": True}},
}

_clocks = st.sampled_from(["09:00", "10:00", "10:07", "10:08", "18:00", "23:00"])
_users = st.fixed_dictionaries(
    {
        "on_leave": st.booleans(),
        "working_time": st.none()
        | st.fixed_dictionaries(
            {
                "start": _clocks,
                "end": _clocks,
                "days": st.sampled_from([["thu"], ["mon"], list(DAYS)]),
                "timezone": st.sampled_from(["UTC", "Europe/Moscow"]),
            }
        ),
        "additional_info": st.sampled_from(
            [
                {},
                {"github": {"username": "octocat"}},
                {"chat": {"username": "c", "id": 1}},
                {"github": {"username": "x"}},
            ]
        ),
    }
)
_configurations = st.fixed_dictionaries(
    {
        "users": st.lists(st.sampled_from(["u0", "u1", "u2", "u3", "ghost"]), unique=True, max_size=4),
        "producers": st.lists(st.sampled_from(PRODUCERS), unique=True, min_size=1, max_size=3),
        # The filters of people more often than others: what they record depends on the order.
        "filters": st.lists(
            st.sampled_from([*POOL, "undefined", *["exists", "at-work", "off-work", "infra"] * 4]),
            unique=True,
            max_size=4,
        ),
        "consumers": st.lists(st.sampled_from(["room", "file", "direct", "undefined"]), unique=True, max_size=3),
        "enabled": st.sampled_from([True, True, True, False]),
    }
)
_messages = st.fixed_dictionaries(
    {
        "producer": st.sampled_from([*PRODUCERS, *PRODUCERS, "nobody"]),
        "content": st.sampled_from(["x", "wip 7", "prod 8 is down", "a draft"]),
    },
    optional={
        "id": st.sampled_from(["m1", "a/b c%", 'é"\\', "x" * 64]),
        "receiver": st.sampled_from(["u0", "U1", "u2", "u3", "octocat", "x", "stranger"]),
        "sender": st.sampled_from(["u0", "U1", "octocat", 'a "robot"']),
        "severity": st.sampled_from(["debug", "info", "error"]),
        "labels": st.sampled_from([{}, {"team": "infra"}, {"team": "web", "env": "test"}, {"team": ""}]),
        "configuration": st.sampled_from(["c0", "c1", "c7"]),
        "not_before": st.just("2030-01-01T00:00:00Z"),
    },
)
_changes = st.lists(
    st.one_of(
        st.tuples(st.just("user"), st.sampled_from(["u0", "u1", "u2", "u3"]), st.none() | _users),
        st.tuples(
            st.just("configuration"),
            st.sampled_from(["c0", "c1", "c2", "c3", "c4", "c5", "c6"]),
            st.none() | _configurations,
        ),
        st.tuples(st.just("filter"), st.sampled_from(list(POOL)), st.sampled_from(list(POOL.values()))),
    ),
    min_size=1,
    max_size=12,
)


def changed(catalog: Catalog, changes: Any, revision: int) -> Catalog:
    """The catalog after (kind, name, spec)s."""
    return catalog.with_changes(
        (kind, name, None if spec is None else Definition(kind=kind, name=name, revision=revision, spec=spec))
        for kind, name, spec in changes
    )


BEGINNING = changed(
    Catalog(registry=REGISTRY),
    [
        *(("user", f"u{number}", {}) for number in range(4)),
        ("producer", "p0", {"type": "push"}),
        ("producer", "p1", {"type": "push"}),
        ("producer", "hub", {"type": "github"}),
        *(("filter", name, spec) for name, spec in POOL.items()),
        *(("consumer", name, {"type": name}) for name in ("room", "file", "direct")),
    ],
    1,
)


class _Record:
    """A record as the transport gives it."""

    timestamp, key, headers = 1_700_000_000_000, None, ()

    def __init__(self, offset: int, value: bytes) -> None:
        self.offset = offset
        self.value = value


class _Definitions:
    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog


class Routed:
    """A router whose outputs stay here."""

    def __init__(self, catalog: Catalog) -> None:
        self.router = Router(load_settings(env_file=None), _Definitions(catalog))  # type: ignore[arg-type]
        self.offset = 0

    def route(self, message: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """What one message gives rise to, by topic."""
        record = _Record(self.offset, json.dumps(message, ensure_ascii=False).encode())
        self.offset += 1
        self.router.judge(Batch(topic="messages", partition=3, records=[record]), [record])
        found: dict[str, list[bytes]] = {}
        for queue in self.router._outputs.touched:
            found.setdefault(queue.outlet.topic, []).extend(value for _, value in queue.empty()[0])
        self.router._outputs.touched.clear()
        return found

    def counts(self) -> Counter[tuple[str, str]]:
        """What was dropped since the last time."""
        self.router._take_tally()
        counts = {(name, reason): count for reason, some in self.router._counts.items() for name, count in some.items()}
        self.router._counts.clear()
        return Counter(counts)


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.router.router.now", lambda: NOW)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rounds=st.lists(st.tuples(_changes, st.lists(_messages, min_size=1, max_size=12)), min_size=1, max_size=4))
def test_the_compiled_form_decides_as_the_plain_one(rounds: list[tuple[Any, list[dict[str, Any]]]]) -> None:
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
            deliveries = dict(_deliveries(outputs))
            wanted = {
                (judgement.configuration.name, consumer, None if user is None else user.username)
                for judgement in decision.judgements
                for consumer, user in _wanted(catalog, judgement, decision.receiver is None)
            }
            refused = {
                (attempt.configuration, attempt.consumer, attempt.recipient)
                for attempt in _attempts(outputs)
                if attempt.consumer
            }
            assert set(deliveries) | refused == wanted, message
            assert not set(deliveries) & refused
            assert not outputs.get("dead_letters") or decision.problem in ("unknown_producer", "unknown_configuration")
            for (name, _, recipient), delivery in deliveries.items():
                judgement = next(each for each in decision.judgements if each.configuration.name == name)
                assert delivery.configuration_version == judgement.configuration.version
                if recipient is None:
                    assert delivery.recipients == tuple(user.username for user in judgement.passed if user is not None)
            _attempts(outputs)
            if not wanted and decision.problem is None:
                _check_told(catalog, message, decision, outputs)
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
    (attempt,) = _attempts(routed.route({"producer": "p0", "receiver": "u0", "content": "x"}))
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


def _deliveries(outputs: Mapping[str, list[bytes]]) -> Iterator[tuple[tuple[str, str, str | None], Delivery]]:
    for topic, values in outputs.items():
        if topic.startswith("deliveries."):
            for value in values:
                delivery = Delivery.decode(value)
                assert delivery.encode() == value  # put together as it would be encoded
                assert topic == f"deliveries.{delivery.consumer}"
                yield (delivery.configuration, delivery.consumer, delivery.recipient), delivery


def _attempts(outputs: Mapping[str, list[bytes]]) -> list[Attempt]:
    attempts = []
    for value in outputs.get("attempts", []):
        attempts.append(Attempt.decode(value))
        assert attempts[-1].encode() == value  # put together as it would be encoded
    return attempts


def _check_told(
    catalog: Catalog, message: Mapping[str, Any], decision: Any, outputs: Mapping[str, list[bytes]]
) -> None:
    """A message that nobody gets has one attempt, whose reason and filters are true."""
    (attempt,) = _attempts(outputs)
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
            asked = Candidate(
                message=Message.decode(json.dumps(message).encode()),
                users=judgement.configuration.users,
                at=NOW,
                sender=decision.sender,
                receiver=decision.receiver,
            )
            if decision.receiver is not None:
                assert not Step(filter_, catalog.filters[filter_]).filter.passes(asked)
        else:
            assert said == "unknown_receiver"


@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.sampled_from("abc"), unique=True, min_size=1),
            st.none() | st.tuples(st.frozensets(st.sampled_from(["1", "2", "3", None])), st.booleans()),
            st.integers(0, 3),
        ),
        max_size=30,
    )
)
def test_an_index_finds_what_a_look_at_every_entry_finds(
    steps: list[tuple[list[str], tuple[frozenset[str | None], bool] | None, int]],
) -> None:
    index = Index()
    entries: dict[int, tuple[list[str], list[Asked]]] = {}
    for producers, asked, removals in steps:
        lookups: list[Asked] = [("labels.x", asked[0], asked[1])] if asked else []
        slot = index.add(producers, lookups)
        assert slot not in entries
        entries[slot] = producers, lookups
        for _ in range(min(removals, len(entries) - 1)):
            old = next(iter(entries))
            index.remove(old, *entries.pop(old))
        field = index.fields.get("labels.x", Field())
        for producer in "abc":
            for value in ("1", "2", "3", "4", None):
                found = index.considering(producer)
                if "labels.x" in index.fields:
                    found &= field.accepting(value)
                assert set(slots_of(found)) == {
                    slot
                    for slot, (producers_, lookups_) in entries.items()
                    if producer in producers_
                    and all((value in accepted) is not negate for _, accepted, negate in lookups_)
                }


@given(slots=st.sets(st.integers(0, 3000)))
def test_the_slots_of_a_set_are_found_in_order(slots: set[int]) -> None:
    assert list(slots_of(sum(1 << slot for slot in slots))) == sorted(slots)


@given(
    start=st.times(),
    end=st.times(),
    days=st.frozensets(st.sampled_from(DAYS), min_size=1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu"]),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - Hypothesis wants them so
    part=st.floats(0, 1, exclude_max=True),
)
def test_working_time_holds_as_long_as_it_says(
    start: time, end: time, days: frozenset[Any], zone: str, at: datetime, part: float
) -> None:
    working_time = WorkingTime(start=start, end=end, days=days, timezone=zone)
    moment = at.replace(tzinfo=UTC)
    until = working_time.holds_until(moment)
    assert moment < until <= moment + timedelta(minutes=15)
    assert working_time.contains(moment + (until - moment) * part) == working_time.contains(moment)


def test_who_works_is_asked_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = {"start": "09:00", "end": "10:08", "days": list(DAYS), "timezone": "UTC"}
    catalog = changed(
        BEGINNING,
        [
            ("user", "u0", {"working_time": hours}),
            (
                "configuration",
                "c0",
                {"users": ["u0"], "producers": ["p0"], "filters": ["at-work"], "consumers": ["file"]},
            ),
        ],
        2,
    )
    routed = Routed(catalog)
    asked = 0
    works_at = type(catalog.users["u0"]).works_at

    def counted(user: Any, at: datetime) -> bool:
        nonlocal asked
        asked += 1
        return works_at(user, at)

    monkeypatch.setattr("notifier.user.User.works_at", counted)
    message = {"producer": "p0", "receiver": "u0", "content": "x"}
    for _ in range(10):
        assert "deliveries.file" in routed.route(message)
    assert asked == 1
    monkeypatch.setattr("streams.router.router.now", lambda: NOW + timedelta(minutes=1))
    assert [attempt.reason for attempt in _attempts(routed.route(message))] == ["outside_hours"]
    routed.router._use(changed(catalog, [("user", "u0", {})], 3))
    assert "deliveries.file" in routed.route(message)


def test_a_change_compiles_what_it_changed_and_nothing_else() -> None:
    spec = {"producers": ["p0"], "filters": ["exists", "no-wip"], "consumers": ["file"], "users": ["u0"]}
    catalog = changed(BEGINNING, [("configuration", f"c{number}", spec) for number in range(50)], 2)
    routed = Routed(catalog)
    before = dict(routed.router._matcher._routes)
    routed.router._use(changed(catalog, [("configuration", "c7", spec)], 3))
    after = routed.router._matcher._routes
    assert {name for name in after if after[name] is not before.get(name)} == {"c7"}
    found = _deliveries(routed.route({"producer": "p0", "receiver": "u0", "content": "x"}))
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
        ((found, delivery),) = _deliveries(routed.route({"producer": "p0", "content": "x"}))
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
    monkeypatch.setattr("streams.router.matcher.MAX_PATHS", 10)
    routed = Routed(BEGINNING)
    for number in range(100):
        routed.route({"producer": "p0", "receiver": f"stranger-{number}", "content": "x"})
        assert routed.router._matcher._kept <= 10
        routed.router._matcher.tidy()
    assert routed.router._matcher._forgotten == []
