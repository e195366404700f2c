"""A router whose outputs stay in memory, a catalog with every built-in filter and some faulty ones, and strategies for Hypothesis
that change it. Needs no broker."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from filters import BUILT_IN as FILTERS
from notifier.attempt import Attempt
from notifier.catalog import Catalog
from notifier.dead_letter import DeadLetter
from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.message import Message
from notifier.plugin import Candidate, Filter, FilterParameters, Lookup
from notifier.registry import Registry
from notifier.settings import load_settings
from notifier.working_time import DAYS
from producers.push import Push
from streams.inputs.batch import Batch
from streams.router.router import Router
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


class Moody(Filter[FilterParameters]):
    """A plugin that raises for some messages and some people, and drops others."""

    type = "moody"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        """Drops what is short."""
        if "prod" in candidate.message.content or (candidate.receiver and candidate.receiver.username == "u1"):
            raise RuntimeError("not today")
        return len(candidate.message.content) > 1


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


NOW = datetime(2026, 11, 26, 10, 7, tzinfo=UTC)  # a Thursday
TIMESTAMP = int(NOW.timestamp() * 1000)
REGISTRY = Registry((Push, Github, *FILTERS, Faulty, Boss, FaultyTest, Moody, Room, File, Direct))

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
    "loud": {"type": "expression", "parameters": {"expression": "message.severity in ['error', 'critical']"}},
    "team-at-work": {
        "type": "expression",
        "parameters": {"expression": "message.labels.team == 'infra' && recipient.working"},  # fails without the label
    },
    "not-web": {
        "type": "expression",
        "parameters": {"expression": "message.labels['team'] == 'web'", "negate": True, "on_error": "pass"},
    },
    "of-u1": {"type": "expression", "parameters": {"expression": "sender.username == 'u1' || now.getHours() > 10"}},
    "faulty": {"type": "faulty"},
    "not-faulty": {"type": "faulty", "parameters": {"negate": True}},
    "lenient": {"type": "faulty", "parameters": {"on_error": "pass"}},
    "moody": {"type": "moody"},
    "not-moody": {"type": "moody", "parameters": {"negate": True}},
    "lenient-moody": {"type": "moody", "parameters": {"negate": True, "on_error": "pass"}},
    "unknown": {"type": "from-elsewhere"},
    "unknown-lenient": {"type": "from-elsewhere", "parameters": {"on_error": "pass"}},
    "misfit": {"type": "severity", "parameters": {"at_least": "fatal", "negate": True}},
    "misfit-lenient": {"type": "severity", "parameters": {"at_least": "fatal", "on_error": "pass"}},
    "faulty-test": {"type": "faulty_test"},
    "boss": {"type": "boss"},
    "not-boss": {"type": "boss", "parameters": {"negate": True}},
}

CLOCKS = st.sampled_from(["09:00", "10:00", "10:07", "10:08", "18:00", "23:00"])
USERS = st.fixed_dictionaries(
    {
        "on_leave": st.booleans(),
        "working_time": st.none()
        | st.fixed_dictionaries(
            {
                "start": CLOCKS,
                "end": CLOCKS,
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
GROUPS = st.fixed_dictionaries(
    {
        "members": st.lists(st.sampled_from(["u0", "u1", "u2", "u3", "ghost"]), unique=True, max_size=4),
        "additional_info": st.sampled_from(
            [{}, {}, {"github": {"username": "Org/Team"}}, {"github": {"username": "x"}}]
        ),
    }
)
RECIPIENTS = ["u0", "u1", "u2", "u3", "ghost", "group:g0", "group:g1", "group:g2"]
CONFIGURATIONS = st.fixed_dictionaries(
    {
        "users": st.lists(st.sampled_from(RECIPIENTS), unique=True, max_size=4),
        "producers": st.lists(st.sampled_from(PRODUCERS), unique=True, min_size=1, max_size=3),
        # The filters of people more often than others: what they record depends on the order.
        "filters": st.lists(
            st.sampled_from([*POOL, "undefined", *["exists", "at-work", "off-work", "infra"] * 5]),
            unique=True,
            max_size=4,
        ),
        "consumers": st.lists(st.sampled_from(["room", "file", "direct", "undefined"]), unique=True, max_size=3),
        "enabled": st.sampled_from([True, True, True, False]),
        "ttl_s": st.sampled_from([None, None, None, 0.5, 3600]),
    }
)
MESSAGES = st.fixed_dictionaries(
    {
        "producer": st.sampled_from([*PRODUCERS, *PRODUCERS, "nobody"]),
        "content": st.sampled_from(["x", "wip 7", "prod 8 is down", "a draft"]),
    },
    optional={
        "id": st.sampled_from(["m1", "a/b c%", 'é"\\', "x" * 64]),
        "receiver": st.sampled_from(
            ["u0", "U1", "u2", "u3", "octocat", "x", "stranger", "group:g0", "GROUP:G1", "group:g2", "org/team"]
        ),
        "sender": st.sampled_from(["u0", "U1", "octocat", 'a "robot"']),
        "severity": st.sampled_from(["debug", "info", "error"]),
        "labels": st.sampled_from([{}, {"team": "infra"}, {"team": "web", "env": "test"}, {"team": ""}]),
        "configuration": st.sampled_from(["c0", "c1", "c7"]),
        "not_before": st.just("2030-01-01T00:00:00Z"),
        "expires_at": st.sampled_from(
            ["2030-01-01T00:00:00Z", "2026-11-26T13:07:00+03:00", "2026-11-26T10:07:00.000001Z"]
        ),
    },
)
SETTINGS = st.fixed_dictionaries(
    {"title": st.just("Mapped")},
    optional={
        "receiver": st.sampled_from(["u1", "octocat", "group:g0", "stranger"]),
        "severity": st.sampled_from(["info", "critical"]),
        "labels": st.sampled_from([{"team": "infra"}, {"team": "web", "env": "live"}, {"é": '"'}]),
    },
)
MAPPINGS = st.fixed_dictionaries(
    {"set": SETTINGS},
    optional={
        "order": st.integers(-1, 1),
        "producers": st.lists(st.sampled_from(PRODUCERS), unique=True, max_size=2),
        "matchers": st.sampled_from([[], ["team=infra"], ["team!=infra"], ["env=~te.*"]]),
        "table": st.fixed_dictionaries(
            {"key": st.sampled_from(["team", "env"]), "rows": st.dictionaries(st.sampled_from(["", "web"]), SETTINGS)}
        ),
    },
)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("mapping"), st.sampled_from(["m0", "m1", "m2"]), st.none() | MAPPINGS | st.just({"set": 7})),
        st.tuples(st.just("user"), st.sampled_from(["u0", "u1", "u2", "u3"]), st.none() | USERS),
        st.tuples(st.just("group"), st.sampled_from(["g0", "g1", "g2"]), st.none() | GROUPS | st.just({"members": 7})),
        st.tuples(
            st.just("configuration"),
            st.sampled_from(["c0", "c1", "c2", "c3", "c4", "c5", "c6"]),
            st.none() | CONFIGURATIONS,
        ),
        st.tuples(st.just("filter"), st.sampled_from(list(POOL)), st.sampled_from(list(POOL.values()))),
        st.sampled_from(["room", "file", "direct"]).flatmap(
            lambda name: st.tuples(
                st.just("consumer"),
                st.just(name),
                st.sampled_from([{"type": name}, {"type": name, "retry": {"ttl_s": 60}}]),
            )
        ),
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
        ("group", "g0", {"members": ["u0", "u1", "u2"]}),
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

    key, headers = None, ()

    def __init__(self, offset: int, value: bytes, timestamp: int) -> None:
        self.offset = offset
        self.value = value
        self.timestamp = timestamp


class _Definitions:
    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog


class Routed:
    """A router whose outputs stay here."""

    def __init__(self, catalog: Catalog) -> None:
        self.router = Router(load_settings(env_file=None), _Definitions(catalog))  # type: ignore[arg-type]
        self.offset = 0

    def route(
        self, message: Mapping[str, Any], turn: Callable[[], None] = lambda: None, age_s: float = 0
    ) -> dict[str, list[bytes]]:
        """What one message gives rise to, by topic. `turn` is called whenever other tasks would have a turn.

        The message was written `age_s` before `NOW`.
        """
        timestamp = TIMESTAMP - int(age_s * 1000)
        record = _Record(self.offset, json.dumps(message, ensure_ascii=False).encode(), timestamp)
        self.offset += 1
        for _ in self.router.judge(Batch(topic="messages", partition=3, records=[record]), [record]):
            turn()
        found: dict[str, list[bytes]] = {}
        for queue in self.router._outputs.touched:
            found.setdefault(queue.topic, []).extend(value for _, value in queue.empty()[0])
        self.router._outputs.touched.clear()
        return found

    def counts(self) -> Counter[tuple[str, str]]:
        """What was dropped since the last time."""
        counters = self.router._counters
        counters.take_tally()
        counts = {(name, reason): count for reason, some in counters.counts.items() for name, count in some.items()}
        counters.counts.clear()
        return Counter(counts)


def deliveries_of(outputs: Mapping[str, list[bytes]]) -> Iterator[tuple[tuple[str, str, str | None], Delivery]]:
    """Deliveries by configuration, consumer and recipient; each is byte for byte what `Delivery.encode` gives."""
    for topic, values in outputs.items():
        if topic.startswith("deliveries."):
            for value in values:
                delivery = Delivery.decode(value)
                assert delivery.encode() == value
                assert topic == f"deliveries.{delivery.consumer}"
                yield (delivery.configuration, delivery.consumer, delivery.recipient), delivery


def failures_of(outputs: Mapping[str, list[bytes]]) -> dict[str, DeadLetter]:
    """Dead letters of configurations that could not judge a message, by configuration."""
    found: dict[str, DeadLetter] = {}
    for value in outputs.get("dead_letters", []):
        letter = DeadLetter.decode(value)
        if letter.reason in ("filter_failed", "filter_unusable"):
            name = letter.id.rpartition("/")[2]
            assert name not in found
            found[name] = letter
    return found


def attempts_of(outputs: Mapping[str, list[bytes]]) -> list[Attempt]:
    """Attempts, each byte for byte what `Attempt.encode` gives."""
    attempts = []
    for value in outputs.get("attempts", []):
        attempts.append(Attempt.decode(value))
        assert attempts[-1].encode() == value
    return attempts
