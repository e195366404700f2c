"""`expression`: what it decides, what is refused when it is saved, what it says, and that nothing can make it take long."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.chain import FilterFailed, ask
from notifier.errors import InputError
from notifier.user import User
from tests.rigs.candidates import ALICE, BOB, NOON, about, make, table

MESSAGE: dict[str, Any] = {
    "title": "Build",
    "severity": "error",
    "sender": "octocat",
    "receiver": "alice",
    "url": "https://ci.example/7",
    "labels": {"team": "infra", "a.b": "c"},
    "occurred_at": (NOON - timedelta(minutes=90)).isoformat(),
    "by": BOB,
}
MOSCOW = User(username="m", additional_info={"github": {"username": "octocat"}, "floor": 3})


@table(
    ("a severity", "message.severity in ['error', 'critical']", True),
    ("a label", "message.labels.team == 'infra'", True),
    ("a label by its name", "message.labels['a.b'] == 'c'", True),
    ("a label that is not there", "has(message.labels.env)", False),
    ("a label that is there", "'team' in message.labels && has(message.labels.team)", True),
    ("what decides before it", "message.labels.env == 'x' || message.severity == 'error'", True),
    ("a text that is not there", "has(message.id) || message.id == 'x'", False),
    ("a text that is there", "has(message.title) && message.title == 'Build'", True),
    ("part of a text", "message.content.contains('fail')", True),
    ("its beginning and end", "message.content.startsWith('build') && message.content.endsWith('failed')", True),
    ("a pattern", "message.content.matches(r'\\bfail(ed|s)$')", True),
    ("a pattern with its case", "message.content.matches('FAIL')", False),
    ("words", "['down', 'failed'].exists(w, message.content.contains(w))", True),
    ("all labels", "message.labels.all(name, size(message.labels[name]) < 9)", True),
    ("one of a list", "['a', 'infra'].exists_one(t, t == message.labels.team)", True),
    ("the recipient", "recipient.username == 'alice' && recipient.working && !recipient.on_leave", True),
    ("the sender", "sender.username == 'bob' && sender.on_leave", True),
    ("the sender's name", "message.sender == 'octocat'", True),
    ("the age", "now - message.occurred_at > duration('1h')", True),
    ("a time that is not there", "has(message.not_before)", False),
    ("the hour", "now.getHours() == 12", True),
    ("the hour in a zone", "now.getHours('Europe/Moscow') == 15", True),
    ("the hour by an offset", "now.getHours('-02:30') == 9 && now.getMinutes('-02:30') == 30", True),
    ("the hour of the recipient", "now.getHours(recipient.timezone) == 12", True),
    ("the day", "now.getDayOfWeek('UTC') == 1 && now.getMonth('UTC') == 10 && now.getDate('UTC') == 23", True),
    ("the same without a zone", "now.getDayOfWeek() == 1 && now.getMonth() == 10 && now.getDate() == 23", True),
    ("how long", "duration('90m').getHours() == 1", True),
    ("a comment", "// loud\nmessage.severity == 'error' // and clear", True),
    ("signs within a text", "message.content == 'exists(' || message.title == \"Build\"", True),
    ("what is chosen", "message.severity == 'error' ? recipient.working : false", True),
)
def test_what_it_decides(row: tuple[str, bool]) -> None:
    expression, passes = row
    candidate = about(**MESSAGE)
    assert make("expression", expression=expression).passes(candidate) is passes
    assert make("expression", expression=expression, negate=True).passes(candidate) is not passes


def test_what_is_known_of_a_recipient() -> None:
    teams = User(username="x", additional_info={"teams": ["web", "infra"]})
    asked = "recipient.additional_info.teams.exists(team, team == message.labels.team)"
    assert make("expression", expression=asked).passes(about(to=teams, labels={"team": "infra"}))
    asked = "recipient.additional_info.github.username == 'octocat' && recipient.additional_info.floor == 3.0"
    assert make("expression", expression=asked).passes(about(to=MOSCOW))
    assert make("expression", expression="recipient.username == '' && !recipient.working").passes(about(to=None))


@table(
    ("nothing", "  // nothing", "must not be empty; write what is true of the messages that pass"),
    ("no truth", "message.content", "is string, and a filter asks what is true or false; compare it: … == 'error'"),
    ("another field", "message.contnt == 'a'", "line 1, column 8: there is no field 'contnt' in a Message"),
    ("another name", "msg.content == 'a'", "line 1, column 4: there is no 'msg.content' here"),
    ("another kind", "message.title == 1", "line 1, column 15: found no matching overload for '_==_' applied to"),
    ("half an expression", "message.title == 'a'\n  && ", "line 2, column 6: Syntax error"),
    ("a pattern", "message.title.matches('(')", "line 1, column 23: '(' is not a regular expression in RE2 syntax"),
    (
        "a pattern of the message",
        "message.content.matches(message.title)",
        "line 1, column 17: matches takes a pattern",
    ),
    ("a costly pattern", "message.title.matches('\\\\pL{900}')", "is too costly to search for"),
    ("a zone", "now.getHours('Mars') == 1", "line 1, column 14: 'Mars' is no time zone"),
    ("a file for a zone", "now.getHours('/dev/stdin') == 1", "is no time zone"),
    ("a loop in a loop", "[1].all(a, [2].all(b, a < b))", "line 1, column 16: a loop may not stand within another one"),
    (
        "a loop behind a quotation mark",
        '"""\\"""" != "" && [1].all(a, [2].all(b, a < b)) && "" == ""',
        "a loop may not stand within another one",
    ),
    ("a function by its hidden name", "message.content.matche_(message.title)", "there is no matche_ here"),
    ("a pattern in a loop", "[1].all(a, message.title.matches('a'))", "matches may not stand within a loop"),
    ("a list that grows", "[1].map(a, a) == [1]", "line 1, column 5: there is no map here"),
    ("a list that is filtered", "[1].filter(a, true) == [1]", "there is no filter here; ask with exists"),
    ("a text that grows", "message.title + 'a' == 'a'", "line 1, column 15: found no matching overload for '_+_'"),
    ("too deep", "(" * 99 + "true" + ")" * 99, "is nested too deeply"),
    ("too long a chain", "1" + " + 1" * 99 + " == 3", "is nested too deeply, or a chain of more than some 30 steps"),
    ("too long", "true || " * 400 + "true", "is longer than 2000 characters"),
)
def test_what_is_refused_when_it_is_saved(row: tuple[str, str]) -> None:
    expression, words = row
    with pytest.raises(InputError) as refused:
        make("expression", expression=expression)
    assert str(refused.value).startswith("/parameters/expression: ")
    assert words in str(refused.value)


@table(
    ("a label that is not there", "message.labels.env == 'test'", {}, "there is no 'env'; ask for it first"),
    ("what nobody can divide", "1 / size(message.title) == 1", {}, "divide by zero"),
    ("a zone of the message", "now.getHours(message.title) == 1", {"title": "../../etc/passwd"}, "is no time zone"),
    ("a loop over too much", "message.labels.all(n, n != message.content)",
     {"labels": {f"n{i}": "" for i in range(2_000)}, "content": "a" * 400_000}, "too large for this expression"),
    ("a loop over what is known of somebody", "recipient.additional_info.teams.all(t, message.content != t)",
     {"content": "a" * 400_000, "to": User(username="x", additional_info={"teams": ["t"] * 5_000})},
     "too large for this expression"),
    ("a costly pattern in a long text", "message.content.matches('(?i)(a|b|ab|ba){100}c')", {"content": "a" * 800_000},
     "too large for this expression"),
    ("many loops", "message.labels.all(a, true) && message.labels.all(a, true)",
     {"labels": {f"n{i}": "" for i in range(11_000)}}, "more than 10,000 items|too large"),
)  # fmt: skip
def test_what_has_no_value_fails(row: tuple[str, dict[str, Any], str]) -> None:
    expression, fields, words = row
    candidate = about(**fields)
    filter_ = make("expression", expression=expression)
    with pytest.raises(FilterFailed, match=words) as failed:
        ask("asked", filter_, candidate)
    assert failed.value.reason == "filter_failed"
    with pytest.raises(FilterFailed):
        ask("asked", make("expression", expression=expression, negate=True), candidate)
    assert ask("asked", make("expression", expression=expression, on_error="pass"), candidate)


def test_the_longest_part_is_found_in_the_longest_text() -> None:
    filter_ = make("expression", expression="message.content.contains(message.title)")
    assert not filter_.passes(
        about("a" * 450_000, title="a" * 225_000 + "b" + "a" * 1_000)
    )  # quadratic where done naively


@table(
    ("which part is not true", "message.severity == 'error' && message.labels.team == 'web'",
     "drops: \"message.labels.team == 'web'\" is not true; message.labels.team is 'infra'"),
    ("what there is", "message.severity == 'error' || message.title == 'x'",
     "passes: \"message.severity == 'error' || message.title == 'x'\" is true;"
     " message.severity is 'error', message.title is 'Build'"),
    ("what is missing", "has(message.labels.env) && message.labels.env == 'a'",
     "drops: 'has(message.labels.env)' is not true; message.labels.env is missing"),
    ("when", "now.getHours('UTC') < 9",
     "drops: \"now.getHours('UTC') < 9\" is not true; now is Mon 2026-11-23 12:00 UTC"),
)  # fmt: skip
def test_what_it_says(row: tuple[str, str]) -> None:
    expression, words = row
    assert make("expression", expression=expression).says(about(**MESSAGE)) == words


def test_what_it_says_turned_round() -> None:
    filter_ = make("expression", expression="message.severity == 'error'", negate=True)
    assert filter_.says(about(**MESSAGE)) == (
        "drops: \"message.severity == 'error'\" is true; message.severity is 'error'"
    )
    assert filter_.clause() == "the expression \"message.severity == 'error'\" is true"


@table(
    ("the message", "message.severity == 'error'", True),
    ("a constant", "true", True),
    ("the recipient", "recipient.working", False),
    ("the moment", "now.getHours() == 1", False),
    ("the sender", "message.title == 'a' || sender.working", False),
)
def test_what_the_message_alone_decides_is_a_test(row: tuple[str, bool]) -> None:
    expression, alone = row
    filter_ = make("expression", expression=expression)
    test = filter_.test()
    assert (test is not None) is alone
    candidate = about(**MESSAGE)
    assert test is None or test(candidate.message) is filter_.accepts(candidate)


_PIECES = [
    "message", ".", "content", "labels", "['team']", "recipient.working", "sender", "now", "(", ")", "[", "]", "&&", "||", "!",
    "==", "in", "'a'", "\"b\"", "1", "-", "+", "?", ":", "true", "null", "has(", ".exists(", ".filter(x,", ".matches('a')",
    ".contains(", "x", ",", "size(", ".getHours(", "'UTC'", "duration('1h')", "{", "}", "r'\\'", "'''", "\n", "//", "`a`", " ",
    "notifier.Message{", "title:", "\U0001f600", "\0",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_is_refused_or_judges(text: str) -> None:
    try:
        filter_ = make("expression", expression=text)
    except InputError:
        return
    for candidate in (about(**MESSAGE), about(to=ALICE), about(to=None)):
        try:
            verdict = ask("asked", filter_, candidate)
        except FilterFailed:
            continue
        assert filter_.says(candidate).startswith("passes" if verdict else "drops")
