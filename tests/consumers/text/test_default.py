"""The default text."""

from typing import Any

import pytest

from consumers.text.default import MAX_LABELS, default_text
from consumers.text.words import WORDS
from notifier import Message, Span
from notifier.outcome import SEVERITIES
from tests.rigs.plugin_world import make_delivery

NOBODY: dict[str, Any] = {"sender": None, "receiver": None, "recipient": None}


@pytest.mark.predecessor("S-46")
@pytest.mark.parametrize(
    ("fields", "message", "expected"),
    [
        pytest.param({}, {}, "From octocat to al: build failed", id="the predecessor's text"),
        pytest.param({"receiver": None, "recipient": None}, {}, "From octocat: build failed", id="to everyone"),
        pytest.param({"sender": None}, {}, "To al: build failed", id="no sender"),
        pytest.param({"sender": None, "receiver": None, "recipient": None}, {}, "build failed", id="neither"),
        pytest.param({"receiver": None}, {}, "From octocat to alice: build failed", id="no name in that world"),
        pytest.param(
            {},
            {"title": "CI", "url": "https://ci/1"},
            "From octocat to al: CI\nbuild failed\nhttps://ci/1",
            id="title and link",
        ),
        pytest.param({}, {"title": "build", "url": ""}, "From octocat to al: build failed", id="said already"),
        *[
            pytest.param({"sender": None, "receiver": None, "recipient": None}, message, expected, id=name)
            for name, message, expected in [
                ("title within a word", {"title": "prod", "content": "crash reproduced"}, "prod\ncrash reproduced"),
                ("short title", {"title": "CI", "content": "CIRCLE-CI pre-CI"}, "CI\nCIRCLE-CI pre-CI"),
                ("title with more", {"title": "db", "content": "db-2 up, db:5432"}, "db\ndb-2 up, db:5432"),
                ("title in brackets", {"title": "db", "content": "up [db]: well"}, "up [db]: well"),
                ("title and a full stop", {"title": " db ", "content": "down: db."}, "down: db."),
                ("title without blanks", {"title": "部署", "content": "“部署”，好"}, "“部署”，好"),
                ("title that is blank", {"title": " \n", "content": "x"}, "x"),
                ("title with signs", {"title": "a.*(b", "content": "axx(b"}, "a.*(b\naxx(b"),
                ("longer link", {"url": "https://c/12", "content": "https://c/123"}, "https://c/123\nhttps://c/12"),
                ("host of a link", {"url": "https://c", "content": "https://c/1"}, "https://c/1\nhttps://c"),
                (
                    "link with a tab",
                    {"url": "https://c/1", "content": "https://c/1?t=x"},
                    "https://c/1?t=x\nhttps://c/1",
                ),
                ("link in brackets", {"url": "https://c/1", "content": "see (https://c/1)."}, "see (https://c/1)."),
                (
                    "link that ends a line",
                    {"url": "https://c/1", "content": "see https://c/1!\nx"},
                    "see https://c/1!\nx",
                ),
            ]
        ],
    ],
)
def test_the_default_text(fields: dict[str, Any], message: dict[str, Any], expected: str) -> None:
    delivery = make_delivery(message=message, **fields)
    assert default_text(delivery, delivery.read_message()).plain() == expected


@pytest.mark.predecessor("S-42")
def test_a_pull_request_keeps_the_text_that_its_producer_made() -> None:
    content = "Mend it (https://github.com/o/r/pull/1)\nLabels: bug,ui"
    message = Message(producer="gh", content=content, title="Mend it", url="https://github.com/o/r/pull/1")
    assert default_text(make_delivery(), message).plain() == f"From octocat to al: {content}"


@pytest.mark.parametrize(
    ("fields", "message", "expected"),
    [
        pytest.param({}, {}, "От octocat для al: build failed", id="both"),
        pytest.param({"receiver": None, "recipient": None}, {}, "От octocat: build failed", id="no receiver"),
        pytest.param({"sender": None}, {"severity": "error"}, "Для al: build failed\nВажность: ошибка", id="severity"),
    ],
)
def test_the_words_are_of_the_language_of_the_reader(
    fields: dict[str, Any], message: dict[str, Any], expected: str
) -> None:
    delivery = make_delivery(message=message, **fields)
    assert default_text(delivery, delivery.read_message(), "ru").text == expected


def test_every_severity_has_a_word_in_every_language() -> None:
    assert all(set(words.severities) == set(SEVERITIES) for words in WORDS.values())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param({"severity": "info"}, "x\nSeverity: info", id="severity"),
        pytest.param(
            {"labels": {"team": "infra", "job": "a\nb"}}, "x\nteam: infra\njob: a b", id="labels, a line each"
        ),
        pytest.param(
            {"severity": "error", "labels": {"severity": "error", "team": "a"}},
            "x\nSeverity: error\nteam: a",
            id="once",
        ),
        pytest.param(
            {"severity": "error", "labels": {"severity": "page"}}, "x\nSeverity: error\nseverity: page", id="both"
        ),
        pytest.param({"labels": {"a": "", "b": "\u200b", "c": "\x1b[31m"}}, "x", id="labels without anything to see"),
        pytest.param(
            {"labels": {f"l{number}": "v" for number in range(MAX_LABELS + 2)}},
            "x\n" + "\n".join(f"l{number}: v" for number in range(MAX_LABELS)) + "\n… 2 more labels",
            id="many labels",
        ),
        pytest.param({"title": "\u200b\u2060", "url": "\x07"}, "x", id="nothing to see above and below"),
        pytest.param(
            {"content": "\u2060\n", "title": "T", "url": "https://x"}, "T\nhttps://x", id="nothing to see between"
        ),
        pytest.param(
            {"title": "\x1b[31mT\x1b[0m", "content": "a\x1b[1mb\u202ec"}, "T\nabc", id="terminal and direction"
        ),
        pytest.param({"url": "tg://resolve?domain=x"}, "x\ntg://resolve?domain=x", id="no web link"),
    ],
)
def test_fields_stand_below_the_content(message: dict[str, Any], expected: str) -> None:
    delivery = make_delivery(message={"content": "x", **message}, **NOBODY)
    assert default_text(delivery, delivery.read_message()).plain() == expected


def test_the_title_is_bold_and_the_address_a_link() -> None:
    delivery = make_delivery(message={"title": "CI", "content": "*x* <b>", "url": "https://ci/1"}, **NOBODY)
    text = default_text(delivery, delivery.read_message())
    assert text.text == "CI\n*x* <b>\nhttps://ci/1"
    assert text.spans == (
        Span(start=0, end=2, style="bold"),
        Span(start=11, end=23, style="link", value="https://ci/1"),
    )
    delivery = make_delivery(message={"content": "x", "url": "javascript:alert(1)"}, **NOBODY)
    assert default_text(delivery, delivery.read_message()).spans == ()


def test_a_long_title_costs_no_more_than_to_read_it() -> None:
    title = "(" * 200_000 + "x"
    content = "(" * 400_000 + title + "y"  # the title is in it, but not as a whole
    delivery = make_delivery(message={"content": content, "title": title}, **NOBODY)
    text = default_text(delivery, delivery.read_message()).text  # minutes, where the title is tried at each bracket
    assert text == f"{title}\n{content}"
