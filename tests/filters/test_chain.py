"""Chains, and the properties of every filter in one: negation, order, explanations, filters that raise."""

import logging
import time as clock
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import chain
from filters.chain import AnyFilter, Chain, ChainVerdict, Unusable
from notifier.outcome import SEVERITIES, Reason
from notifier.plugin import Candidate, Filter, FilterParameters
from tests.rigs.candidates import ALICE, BOB, CAROL, DAVE, REGISTRY, about, make

texts = st.text(st.sampled_from("abAB wipß\n"), max_size=6)
some_texts = st.lists(texts.filter(bool), min_size=1, max_size=3)
messages: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"content": texts},
    optional={
        "title": texts,
        "sender": st.sampled_from(["octocat", "alice", "A"]),
        "receiver": st.sampled_from(["octocat", "alice"]),
        "severity": st.sampled_from(SEVERITIES),
        "labels": st.dictionaries(st.sampled_from(["team", "env"]), texts, max_size=2),
    },
)
people = st.sampled_from([None, ALICE, BOB, CAROL, DAVE])
candidates = st.builds(
    lambda message, to, by, users, at: about(to=to, by=by, users=users, at=at, **message),
    messages,
    people,
    people,
    st.sets(st.sampled_from(["alice", "bob", "carol"])),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone is added
)


def _type(type_: str, **parameters: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(type_), st.fixed_dictionaries(dict(parameters)))


definitions = st.one_of(
    _type("skip_keywords", skip_keywords=some_texts, ignore_case=st.booleans()),
    _type("keep_keywords", keep_keywords=some_texts, ignore_case=st.booleans()),
    _type("receiver_exists"),
    _type("receiver_working"),
    _type("severity", at_least=st.sampled_from(SEVERITIES)),
    _type("sender", senders=st.lists(st.sampled_from(["ALICE", "octocat", "bob"]), min_size=1)),
    _type("labels", matchers=st.lists(st.sampled_from(["team=a", "team!=a", "env=~a.*", "env!~.+"]), min_size=1)),
    _type(
        "regex",
        pattern=st.sampled_from(["a", "^$", "(?i)w", r"\bwip\b"]),
        field=st.sampled_from(["content", "title", "sender", "labels.team"]),
    ),
    _type(
        "expression",
        expression=st.sampled_from(
            [
                "message.severity in ['error', 'critical'] && recipient.working",
                "has(message.labels.team) && message.labels.team.startsWith('a')",
                "now.getHours(recipient.timezone) >= 9 || sender.username == 'bob'",
                "message.content.matches('(?i)w') == has(message.title)",
            ]
        ),
    ),
)


def test_the_properties_below_are_about_every_filter() -> None:
    known = {"skip_keywords", "keep_keywords", "receiver_exists", "receiver_working"}
    assert known | {"severity", "sender", "labels", "regex", "expression"} == set(REGISTRY.types("filter"))


@given(definitions, candidates)
def test_negate_is_the_complement(definition: tuple[str, dict[str, Any]], candidate: Candidate) -> None:
    type_, parameters = definition
    plain, negated = make(type_, **parameters), make(type_, **parameters, negate=True)
    assert plain.passes(candidate) is not negated.passes(candidate)
    assert plain.finding(candidate) == negated.finding(candidate)
    assert {plain.says(candidate).partition(":")[0], negated.says(candidate).partition(":")[0]} == {"passes", "drops"}


chains = st.lists(st.tuples(definitions, st.booleans()), max_size=4).map(
    lambda rows: [
        (f"f{position}", make(type_, **parameters, negate=negate))
        for position, ((type_, parameters), negate) in enumerate(rows)
    ]
)


@pytest.mark.predecessor("S-9", "S-24")
@given(chains, candidates)
def test_a_chain_is_the_conjunction_of_its_filters_in_order(
    filters: list[tuple[str, AnyFilter]], candidate: Candidate
) -> None:
    verdict = Chain(filters).judge(candidate)
    dropping = [name for name, filter_ in filters if not filter_.passes(candidate)]
    assert verdict.passed is (not dropping)
    assert verdict.filter == (dropping[0] if dropping else None)
    assert (verdict.reason == "ok") is verdict.passed


@given(chains, candidates)
def test_explain_agrees_with_judge(filters: list[tuple[str, AnyFilter]], candidate: Candidate) -> None:
    judged = Chain(filters).judge(candidate)
    verdicts = Chain(filters).explain(candidate)
    assert [verdict.filter for verdict in verdicts] == [name for name, _ in filters]
    assert judged.passed is all(verdict.passed for verdict in verdicts)
    decisive = next((verdict for verdict in verdicts if not verdict.passed), None)
    assert (decisive and decisive.filter, decisive.reason if decisive else "ok") == (judged.filter, judged.reason)
    for position, verdict in enumerate(verdicts):
        assert verdict.says.startswith("passes: " if verdict.passed else "drops: ")
        assert verdict.reached is all(before.passed for before in verdicts[:position])


class Seen(Filter[FilterParameters]):
    """Keeps what it was asked about."""

    type = "seen"
    Parameters = FilterParameters

    def __init__(self, parameters: FilterParameters) -> None:
        super().__init__(parameters)
        self.asked: list[Candidate] = []

    def accepts(self, candidate: Candidate) -> bool:
        self.asked.append(candidate)
        return True


class Broken(Filter[FilterParameters]):
    """Raises whatever it is asked."""

    type = "broken"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        raise LookupError("no such thing")

    def clause(self) -> str:
        raise LookupError("no such clause")


class Speechless(Broken):
    """Drops, and cannot say why."""

    type = "speechless"

    def accepts(self, candidate: Candidate) -> bool:
        return False

    def reason_for(self, candidate: Candidate) -> Reason:
        raise LookupError("no such reason")


def test_an_empty_chain_lets_everything_pass() -> None:
    assert Chain([]).judge(about()) == ChainVerdict(passed=True)
    assert Chain([]).explain(about()) == []


@pytest.mark.predecessor("S-24")
def test_judging_stops_at_the_first_filter_that_drops() -> None:
    first, last = Seen(FilterParameters()), Seen(FilterParameters())
    verdict = Chain([("a", first), ("b", make("skip_keywords", skip_keywords=["fail"])), ("c", last)]).judge(about())
    assert verdict == ChainVerdict(passed=False, filter="b", reason="filtered")
    assert (len(first.asked), len(last.asked)) == (1, 0)


@pytest.mark.parametrize("negate", [False, True])
def test_a_filter_that_raises_fails_and_is_logged_once_a_minute(
    negate: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken-{negate}"
    broken = Chain([(name, Broken(FilterParameters(negate=negate)))])
    text = f"the filter {name} failed: LookupError: no such thing"
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            judged = broken.judge(about())
            assert (judged.passed, judged.filter, judged.reason) == (False, name, "filter_failed")
            assert str(judged.failure) == text
        (verdict,) = broken.explain(about())
        assert [record.getMessage() for record in caplog.records] == [f"T{text[1:]}"]
        monkeypatch.setitem(chain._logged, name, clock.monotonic() - 61)
        broken.judge(about())
        assert len(caplog.records) == 2
    assert (verdict.passed, verdict.reason, verdict.says) == (False, "filter_failed", f"fails: {text}")


@pytest.mark.parametrize("negate", [False, True])
def test_a_filter_that_raises_lets_pass_where_it_says_so(negate: bool, caplog: pytest.LogCaptureFixture) -> None:
    name = f"lenient-{negate}"
    lenient = Chain([(name, Broken(FilterParameters(negate=negate, on_error="pass")))])
    assert lenient.judge(about()) == ChainVerdict(passed=True)
    (verdict,) = lenient.explain(about())
    assert verdict.says == "passes: the filter failed and lets pass what it cannot judge (LookupError: no such thing)"
    assert [record.getMessage() for record in caplog.records] == [
        f"The filter {name} failed: LookupError: no such thing; it lets pass what it cannot judge"
    ]


@pytest.mark.parametrize("negate", [False, True])
def test_what_another_filter_drops_is_dropped_whatever_failed_before(negate: bool) -> None:
    broken, unusable = Broken(FilterParameters(negate=negate)), Unusable("odd", "there is no filter 'odd'")
    skips = make("skip_keywords", skip_keywords=["wip"])
    mixed = Chain([("broken", broken), ("odd", unusable), ("skips", skips)])
    assert mixed.judge(about("wip")) == ChainVerdict(passed=False, filter="skips", reason="filtered")
    judged = mixed.judge(about("done"))
    assert (judged.filter, judged.reason) == ("broken", "filter_failed")  # the first that fails
    assert [verdict.reached for verdict in mixed.explain(about("wip"))] == [True, True, True]
    judged = Chain([("odd", unusable), ("broken", broken)]).judge(about())
    assert (judged.filter, judged.reason, str(judged.failure)) == ("odd", "filter_unusable", "there is no filter 'odd'")


class Unspeakable(Exception):
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("two\nlines"), "ValueError: two lines"),
        (ValueError("half a sign: \ud800"), "ValueError: half a sign: ?"),
        (Unspeakable(), "Unspeakable"),
        (RecursionError(), "RecursionError: RecursionError"),
    ],
)
def test_whatever_a_filter_raises_can_be_recorded(error: Exception, says: str) -> None:
    class Raising(Broken):
        def accepts(self, candidate: Candidate) -> bool:
            raise error

    assert str(Chain([("f", Raising(FilterParameters()))]).judge(about()).failure) == f"the filter f failed: {says}"


@pytest.mark.parametrize("reason", [None, "ok", "because", []])
def test_a_reason_that_is_none_does_not_let_pass(reason: Any) -> None:
    class Odd(Speechless):
        def reason_for(self, candidate: Candidate) -> Reason:
            return cast("Reason", reason)

    assert Chain([("odd", Odd(FilterParameters()))]).judge(about()).reason == "filtered"


def test_a_filter_that_cannot_say_why_it_drops_drops_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    speechless = Chain([("speechless", Speechless(FilterParameters()))])
    assert speechless.judge(about()) == ChainVerdict(passed=False, filter="speechless", reason="filtered")
    (verdict,) = speechless.explain(about())
    assert verdict.says == "drops: the filter cannot say why (LookupError: no such clause)"
    assert "no such reason" in caplog.text


def test_a_filter_of_somebody_else_says_its_clause() -> None:
    class Short(Filter[FilterParameters]):
        type = "short"
        Parameters = FilterParameters

        def accepts(self, candidate: Candidate) -> bool:
            return cast("bool", len(candidate.message.content) < 5 and 1)  # an answer that is true and not True

        def clause(self) -> str:
            return "the content is short"

    assert Short(FilterParameters()).says(about("abc")) == "passes: the rule is (the content is short)"
    negated = Short(FilterParameters(negate=True))
    assert negated.says(about("abc")) == "drops: the rule is not (the content is short)"
    assert negated.says(about("abcdef")) == "passes: the rule is not (the content is short)"
