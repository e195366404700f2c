"""Filters: what each lets pass, what it says about it, what it refuses to be set to, and chains of them."""

import logging
import time as clock
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import BUILT_IN, chain
from filters.chain import AnyFilter, Chain, Verdict
from filters.labels import read_matchers
from filters.pattern import MAX_INSTRUCTIONS, Pattern
from notifier.errors import InputError
from notifier.message import MAX_BYTES, Message
from notifier.outcome import SEVERITIES, Reason
from notifier.plugin import Candidate, Filter, FilterParameters
from notifier.registry import Registry
from notifier.user import User
from notifier.working_time import WorkingTime

REGISTRY = Registry(BUILT_IN)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # a Monday
OFFICE = WorkingTime(start=time(9), end=time(18), days=frozenset({"mon", "tue"}))
NIGHT = WorkingTime(start=time(22), end=time(6))
ALICE = User(username="alice", working_time=OFFICE)
BOB = User(username="bob", on_leave=True)
CAROL = User(username="carol", working_time=NIGHT)
DAVE = User(username="dave")


def make(type_: str, **parameters: Any) -> AnyFilter:
    """A filter as the router makes it from a definition."""
    return cast("AnyFilter", REGISTRY.build("filter", "f", type_, parameters, None))


def about(
    content: str = "build failed",
    *,
    to: User | None = ALICE,
    by: User | None = None,
    users: Iterable[str] = ("alice", "bob"),
    at: datetime = NOON,
    **fields: Any,
) -> Candidate:
    """A candidate: `to` and `by` are the users that the router found, `fields` more of the message."""
    message = Message.from_object({"producer": "ci", "content": content, **fields})
    return Candidate(message=message, users=frozenset(users), at=at, sender=by, receiver=to)


def table(*rows: tuple[Any, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Runs a test once for each row; the row's first column is its name."""
    return pytest.mark.parametrize("row", [row[1:] for row in rows], ids=[row[0] for row in rows])


# What passes


@pytest.mark.predecessor("S-33")
@table(
    ("the keyword itself", "wip", False, "wip", "wip"),
    ("in the whole of a start", "start", False, "art", None),
    ("inside a word", "art", False, "we start", "art"),
    ("case matters", "wip", False, "WIP", None),
    ("case ignored", "WiP", True, "wIp", "WiP"),
    ("case ignored beyond ASCII", "STRASSE", True, "Hauptstraße", "STRASSE"),
    ("over a line end", "a\nb", False, "xa\nbx", "a\nb"),
    ("signs are not a pattern", "a.c", False, "abc", None),
    ("white space is a keyword", " ", False, "a b", " "),
    ("nothing in an empty content", "a", False, "", None),
)
def test_keywords_are_searched_in_the_content(row: tuple[str, bool, str, str | None]) -> None:
    keyword, ignore_case, content, found = row
    skip = make("skip_keywords", skip_keywords=["never there", keyword], ignore_case=ignore_case)
    keep = make("keep_keywords", keep_keywords=["never there", keyword], ignore_case=ignore_case)
    candidate = about(content)
    assert skip.passes(candidate) is (found is None)
    assert keep.passes(candidate) is (found is not None)
    if found is not None:
        assert skip.says(candidate).startswith(f"drops: the content contains {found!r}")
        assert keep.says(candidate).startswith(f"passes: the content contains {found!r}")


def test_keywords_are_not_searched_in_the_title() -> None:
    candidate = about("done", title="wip", url="wip", sender="wip")
    assert make("skip_keywords", skip_keywords=["wip"]).passes(candidate)
    assert not make("keep_keywords", keep_keywords=["wip"]).passes(candidate)


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=5), st.text(max_size=20), st.booleans())
def test_keywords_agree_with_a_naive_model(keywords: list[str], content: str, ignore_case: bool) -> None:
    def folded(text: str) -> str:
        return text.casefold() if ignore_case else text

    expected = False
    for keyword in keywords:
        if folded(content).find(folded(keyword)) >= 0:
            expected = True
    assert make("keep_keywords", keep_keywords=keywords, ignore_case=ignore_case).passes(about(content)) is expected
    assert make("skip_keywords", skip_keywords=keywords, ignore_case=ignore_case).passes(about(content)) is not expected


@pytest.mark.predecessor("S-35")
@table(
    ("a user of the configuration", ALICE, ["alice"], True, "alice is among the configuration's users"),
    ("somebody else", CAROL, ["alice"], False, "carol is not among the configuration's users"),
    ("everyone", None, [], True, "the message is for everyone, not for one person"),
)
def test_receiver_exists(row: tuple[User | None, list[str], bool, str]) -> None:
    to, users, passes, finding = row
    filter_, candidate = make("receiver_exists"), about(to=to, users=users)
    assert filter_.passes(candidate) is passes
    assert filter_.finding(candidate) == finding


_HOURS = "the working time is 09:00 to 18:00 on mon, tue, UTC"


@pytest.mark.predecessor("S-17", "S-36")
@table(
    ("within the hours", ALICE, NOON, "ok", f"alice is working at Mon 12:00; {_HOURS}"),
    ("at the start", ALICE, NOON.replace(hour=9), "ok", f"alice is working at Mon 09:00; {_HOURS}"),
    ("at the end", ALICE, NOON.replace(hour=18), "outside_hours", f"alice is not working at Mon 18:00; {_HOURS}"),
    ("on another day", ALICE, NOON.replace(day=25), "outside_hours", f"alice is not working at Wed 12:00; {_HOURS}"),
    (
        "over midnight",
        CAROL,
        NOON.replace(hour=3),
        "ok",
        "carol is working at Mon 03:00; the working time is 22:00 to 06:00 every day, UTC",
    ),
    ("on leave", BOB, NOON, "on_leave", "bob is on leave"),
    ("always working", DAVE, NOON, "ok", "dave is always working"),
    ("for everyone", None, NOON, "ok", "the message is for everyone, not for one person"),
)
def test_receiver_working(row: tuple[User | None, datetime, Reason, str]) -> None:
    to, at, reason, finding = row
    candidate = about(to=to, at=at)
    verdict = Chain([("work", make("receiver_working"))]).judge(candidate)
    assert verdict.reason == reason
    assert verdict.passed is (reason == "ok")
    assert make("receiver_working", outside="drop").finding(candidate) == finding


def test_dropping_who_does_work_is_filtered_and_not_outside_hours() -> None:
    off_duty_only = Chain([("off-duty", make("receiver_working", negate=True))])
    assert off_duty_only.judge(about(to=ALICE)) == Verdict(passed=False, filter="off-duty", reason="filtered")
    assert off_duty_only.judge(about(to=BOB)).passed


@pytest.mark.parametrize("least", SEVERITIES)
@pytest.mark.parametrize("given_", [*SEVERITIES, None])
def test_severity(least: str, given_: str | None) -> None:
    order = ["debug", "info", "warning", "error", "critical"]
    expected = order.index(given_ or "info") >= order.index(least)
    candidate = about(severity=given_)
    filter_ = make("severity", at_least=least)
    assert filter_.passes(candidate) is expected
    assert f"{'at least' if expected else 'below'} {least}" in filter_.says(candidate)


@table(
    ("the name in the message", ["octocat"], "octocat", None, True),
    ("its case does not matter", ["OctoCat"], "oCtOcAt", None, True),
    ("the user's name", ["alice"], "octocat", ALICE, True),
    ("the case of that does not matter", ["ALICE"], "octocat", ALICE, True),
    ("the plain text of an unknown sender", ["jenkins"], "Jenkins", None, True),
    ("another", ["alice"], "bob", BOB, False),
    ("part of a name", ["alic"], "alice", ALICE, False),
    ("no sender", ["alice"], None, None, False),
)
def test_sender(row: tuple[list[str], str | None, User | None, bool]) -> None:
    senders, name, user, passes = row
    assert make("sender", senders=["nobody", *senders]).passes(about(sender=name, by=user)) is passes


def test_sender_says_who_it_was() -> None:
    filter_ = make("sender", senders=["bob"])
    assert (
        filter_.says(about(sender="octocat", by=ALICE)) == "drops: the sender 'octocat' (the user alice) is not 'bob'"
    )
    assert filter_.says(about(sender="Bob", by=BOB)) == "passes: the sender 'Bob' is one of 'bob'"
    assert filter_.says(about()) == "drops: the message has no sender"


LABELS = {"team": "infra", "env": "prod", "quote": 'a "b", c', "path": "a\\b", "lines": "a\nb", "k8s.io/name": "x"}


@table(
    ("equal", "team=infra", True),
    ("equal and quoted", 'team="infra"', True),
    ("white space around", ' team = "infra" ', True),
    ("not equal to another", "team!=web", True),
    ("not equal to it", "team!=infra", False),
    ("case matters", "team=Infra", False),
    ("an expression", "team=~inf.*", True),
    ("an expression is anchored at the end", "team=~inf", False),
    ("an expression is anchored in front", "team=~nfra", False),
    ("anchored around all alternatives", "team=~web|infra|db", True),
    ("anchored around each alternative", "team=~in|fra", False),
    ("not an expression", "team!~inf.*", False),
    ("not an expression that does not fit", "team!~web.*", True),
    ("a missing label equals empty", "nope=", True),
    ("a missing label equals quoted empty", 'nope=""', True),
    ("a missing label differs from a value", "nope!=x", True),
    ("a missing label fits an expression for empty", "nope=~.*", True),
    ("a missing label does not fit .+", "nope=~.+", False),
    ("a missing label and not .+", "nope!~.+", True),
    ("a label that is there is not empty", "team=", False),
    ("several in one text", 'team=infra, env="prod"', True),
    ("several of which one does not match", "team=infra,env=test", False),
    ("in braces, with a comma at the end", '{team="infra", env!="test",}', True),
    ("a quantifier may stand at the end", "team=~infr{0}a|[a-z]{5}", True),
    ("a comma in quotation marks", 'team=~"[a-z]{1,5}"', True),
    ("an escaped quotation mark", r'quote="a \"b\", c"', True),
    ("an escaped backslash", r'path="a\\b"', True),
    ("another backslash is itself", r"path=~a\\\\b", True),
    ("a class of digits", r'team!~"\d+"', True),
    ("a line end", r'lines="a\nb"', True),
    ("a dot is no line end", 'lines=~"a.b"', False),
    ("a name with signs", "k8s.io/name=x", True),
    ("a name in quotation marks", '"k8s.io/name"="x"', True),
    ("a value that looks like an operator", 'team!="=~"', True),
)
def test_labels_match_as_in_alertmanager(row: tuple[str, bool]) -> None:
    matcher, passes = row
    filter_ = make("labels", matchers=[matcher])
    assert filter_.passes(about(labels=LABELS)) is passes
    assert make("labels", matchers=["env=prod", matcher]).passes(about(labels=LABELS)) is passes


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    st.sampled_from(["=", "!="]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.dictionaries(st.text(max_size=3), st.text(max_size=8), max_size=2),
)
def test_a_matcher_reads_what_it_writes(name: str, operator: str, value: str, labels: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    (matcher,) = read_matchers(f"{quoted(name)} {operator}{quoted(value)} ")
    assert (matcher.name, matcher.operator, matcher.value) == (name, operator, value)
    assert read_matchers(str(matcher)) == (matcher,)
    assert matcher.matches(labels) is ((labels.get(name, "") == value) is (operator == "="))


def test_labels_say_which_matcher_does_not_match() -> None:
    filter_ = make("labels", matchers=["team=infra", "env=~prod|test", 'name="x"'])
    says = filter_.says
    assert (
        says(about(labels={"team": "web"}))
        == """drops: the label 'team' is 'web', which does not match team="infra\""""
    )
    assert says(about(labels={"team": "infra", "env": "prod"})).startswith("drops: the label 'name' is missing, which")
    everything = about(labels={"team": "infra", "env": "prod", "name": "x"})
    assert says(everything) == 'passes: the labels match team="infra", env=~"prod|test", name="x"'


MESSAGE: dict[str, Any] = {
    "title": "Build",
    "sender": "octocat",
    "receiver": "alice",
    "url": "https://ci.example/7",
    "labels": {"team": "infra", "a.b": "c"},
}


@table(
    ("anywhere in the content", "content", "fail", True),
    ("by default", None, "^build failed$", True),
    ("fixed at the start", "content", "^failed", False),
    ("case matters", "content", "BUILD", False),
    ("case can be ignored", "content", "(?i)BUILD", True),
    ("in the title", "title", "^Build$", True),
    ("not in another field", "title", "failed", False),
    ("in the sender", "sender", "^octo", True),
    ("in the receiver", "receiver", "^alice$", True),
    ("in the address", "url", r"^https://ci\.example/\d+$", True),
    ("in a label", "labels.team", "^inf", True),
    ("in a label with a dot in its name", "labels.a.b", "^c$", True),
    ("a missing label is empty", "labels.nope", "^$", True),
    ("a missing label holds nothing", "labels.nope", ".", False),
    ("letters of any script", "content", r"^\pL+ \pL+$", True),
)
def test_regex(row: tuple[str | None, str, bool]) -> None:
    field, pattern, passes = row
    filter_ = make("regex", pattern=pattern, **({} if field is None else {"field": field}))
    assert filter_.passes(about(**MESSAGE)) is passes


def test_a_missing_field_is_empty_to_a_regex() -> None:
    filter_ = make("regex", pattern="x", field="title")
    assert filter_.says(about()) == "drops: the title, which is empty, does not match 'x'"


def test_the_more_a_pattern_compiles_to_the_less_of_a_long_text_it_sees() -> None:
    simple, costly = Pattern("needle"), Pattern("(?i)(n|e|ne|en){500}needle|needle")
    assert simple.reach > MAX_BYTES  # any message whole
    assert (
        costly.reach * MAX_INSTRUCTIONS >= 100_000_000
    )  # so a pattern of the permitted size sees 40,000 bytes at least
    long = "-" * costly.reach + "needle"
    assert simple.occurs_in(long)
    assert not costly.occurs_in(long)
    assert costly.occurs_in("needle" + long)
    filter_ = make("regex", pattern=costly.text)
    assert f"(of which the first {costly.reach} bytes are searched) does not match" in filter_.says(about(long))


def test_re2_writes_nothing_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="RE2 syntax: missing"):
        Pattern("(")
    with pytest.raises(ValueError, match="too costly"):
        Pattern(r"\pL{1000}")
    assert capfd.readouterr() == ("", "")


# What is refused


@pytest.mark.predecessor("S-33")
@table(
    ("no keywords at all", "skip_keywords", {}, "/parameters/skip_keywords: is required"),
    ("an empty list", "skip_keywords", {"skip_keywords": []}, "/parameters/skip_keywords: needs at least one text"),
    (
        "a plain text",
        "keep_keywords",
        {"keep_keywords": "down"},
        "/parameters/keep_keywords: must be a list of texts; write ['down']",
    ),
    (
        "a plain text to skip",
        "skip_keywords",
        {"skip_keywords": "wip"},
        "/parameters/skip_keywords: must be a list of texts; write ['wip']",
    ),
    (
        "an empty keyword to skip",
        "skip_keywords",
        {"skip_keywords": ["wip", ""]},
        "/parameters/skip_keywords/1: must not be empty; an empty text is found in everything, so take it out",
    ),
    (
        "an empty keyword",
        "keep_keywords",
        {"keep_keywords": ["a", ""]},
        "/parameters/keep_keywords/1: must not be empty; an empty text is found in everything, so take it out",
    ),
    ("a number", "skip_keywords", {"skip_keywords": [1]}, "/parameters/skip_keywords/0: must be text"),
    ("null", "sender", {"senders": None}, "/parameters/senders: must be a list"),
    ("no senders", "sender", {"senders": []}, "/parameters/senders: needs at least one text"),
    (
        "an unknown severity",
        "severity",
        {"at_least": "fatal"},
        "/parameters/at_least: must be 'debug', 'info', 'warning', 'error' or 'critical'",
    ),
    (
        "holding",
        "receiver_working",
        {"outside": "hold"},
        "/parameters/outside: holding a message back is not possible yet; write drop",
    ),
    ("another parameter", "receiver_exists", {"negat": True}, "/parameters/negat: is not a field here"),
    ("half a truth", "receiver_exists", {"negate": "perhaps"}, "/parameters/negate: must be true or false"),
    (
        "an open bracket",
        "regex",
        {"pattern": "("},
        "/parameters/pattern: is not a regular expression in RE2 syntax: missing ): (",
    ),
    (
        "what would backtrack",
        "regex",
        {"pattern": r"(a)\1"},
        r"/parameters/pattern: is not a regular expression in RE2 syntax: invalid escape sequence: \1",
    ),
    (
        "a long pattern",
        "regex",
        {"pattern": "a" * 1001},
        "/parameters/pattern: is longer than 1000 characters; shorten it or use several filters",
    ),
    (
        "a costly pattern",
        "regex",
        {"pattern": r"\pL{900}"},
        "/parameters/pattern: is too costly to search for; repeat less, or repeat smaller parts",
    ),
    (
        "an empty pattern",
        "regex",
        {"pattern": ""},
        "/parameters/pattern: must not be empty; an empty pattern is found in everything",
    ),
    (
        "another field",
        "regex",
        {"pattern": "a", "field": "body"},
        "/parameters/field: 'body' is not a field that can be searched;"
        " write content, title, sender, receiver, url or labels.<name>",
    ),
    (
        "matchers as one text",
        "labels",
        {"matchers": "a=b"},
        "/parameters/matchers: must be a list of matchers; write ['a=b']",
    ),
    ("no matchers", "labels", {"matchers": []}, "/parameters/matchers: needs at least one matcher"),
    (
        "a matcher with a bad expression",
        "labels",
        {"matchers": ["a=b", "c=~["]},
        "/parameters/matchers/1: '[' is not a regular expression in RE2 syntax: missing ]: [;"
        " a value that holds a comma needs quotation marks",
    ),
)
def test_a_wrong_parameter_is_refused_in_words_of_its_own(row: tuple[str, dict[str, Any], str]) -> None:
    type_, parameters, text = row
    with pytest.raises(InputError) as caught:
        REGISTRY.check("filter", type_, parameters)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "matcher",
    ["", "team", "=x", "a b=c", "a==b", "a=b,,c=d", 'a="b', 'a=b"c', 'a="b"c', '"a=b', '"a"', "a=~(", "{a=b", "!a=b"],
)
def test_a_text_that_is_not_a_matcher_is_refused(matcher: str) -> None:
    with pytest.raises(InputError) as caught:
        REGISTRY.check("filter", "labels", {"matchers": [matcher]})
    (error,) = caught.value.errors
    assert error.pointer == "/parameters/matchers/0"


@given(st.text(max_size=30))
def test_any_text_is_a_matcher_or_refused_as_one(text: str) -> None:
    try:
        matchers = read_matchers(text)
    except ValueError:
        return
    assert read_matchers(",".join(map(str, matchers))) == matchers


@pytest.mark.parametrize("plugin", BUILT_IN, ids=lambda plugin: plugin.type)
def test_every_filter_is_described(plugin: type[Filter[Any]]) -> None:
    assert plugin.describe().endswith(".")
    schema = plugin.Parameters.model_json_schema()
    assert schema["additionalProperties"] is False
    assert "negate" in schema["properties"]
    for name, field in schema["properties"].items():
        assert field.get("description"), name
    examples = {name: field["examples"][0] for name, field in schema["properties"].items() if "examples" in field}
    filter_ = make(plugin.type, **examples)
    assert filter_.clause()
    assert filter_.finding(about())


# Properties of all filters and of chains

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
)


def test_the_properties_below_are_about_every_filter() -> None:
    known = {"skip_keywords", "keep_keywords", "receiver_exists", "receiver_working"}
    assert known | {"severity", "sender", "labels", "regex"} == set(REGISTRY.types("filter"))


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
    verdict = Chain(filters).judge(candidate)
    steps = Chain(filters).explain(candidate)
    assert [step.filter for step in steps] == [name for name, _ in filters]
    assert verdict.passed is all(step.passed for step in steps)
    decisive = next((step for step in steps if not step.passed), None)
    assert (decisive and decisive.filter, decisive.reason if decisive else "ok") == (verdict.filter, verdict.reason)
    for position, step in enumerate(steps):
        assert step.says.startswith("passes: " if step.passed else "drops: ")
        assert step.reached is all(before.passed for before in steps[:position])


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
    assert Chain([]).judge(about()) == Verdict(passed=True)
    assert Chain([]).explain(about()) == []


@pytest.mark.predecessor("S-24")
def test_judging_stops_at_the_first_filter_that_drops() -> None:
    first, last = Seen(FilterParameters()), Seen(FilterParameters())
    verdict = Chain([("a", first), ("b", make("skip_keywords", skip_keywords=["fail"])), ("c", last)]).judge(about())
    assert verdict == Verdict(passed=False, filter="b", reason="filtered")
    assert (len(first.asked), len(last.asked)) == (1, 0)


@pytest.mark.parametrize("negate", [False, True])
def test_a_filter_that_raises_drops_nothing_and_is_logged_once_a_minute(
    negate: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken-{negate}"
    broken = Chain([(name, Broken(FilterParameters(negate=negate)))])
    with caplog.at_level(logging.ERROR):
        assert broken.judge(about()).passed
        assert broken.judge(about()).passed
        (step,) = broken.explain(about())
        assert [record.getMessage() for record in caplog.records] == [
            f"The filter {name} failed and therefore drops nothing: LookupError: no such thing"
        ]
        monkeypatch.setitem(chain._logged, name, clock.monotonic() - 61)
        assert broken.judge(about()).passed
        assert len(caplog.records) == 2
    assert step.says == "passes: the filter failed and therefore drops nothing (LookupError: no such thing)"


def test_a_filter_that_cannot_say_why_it_drops_drops_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    speechless = Chain([("speechless", Speechless(FilterParameters()))])
    assert speechless.judge(about()) == Verdict(passed=False, filter="speechless", reason="filtered")
    (step,) = speechless.explain(about())
    assert step.says == "drops: the filter cannot say why (LookupError: no such clause)"
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
