"""The default text, cleaning and splitting."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.text.text import clean_text, default_text, split_text, utf16_units
from notifier import Message
from tests.rigs.plugin_world import make_delivery

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


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
    ],
)
def test_the_default_text(fields: dict[str, Any], message: dict[str, Any], expected: str) -> None:
    delivery = make_delivery(message=message, **fields)
    assert default_text(delivery, delivery.read_message()) == expected


@pytest.mark.predecessor("S-42")
def test_a_pull_request_keeps_the_text_that_its_producer_made() -> None:
    content = "Mend it (https://github.com/o/r/pull/1)\nLabels: bug,ui"
    message = Message(producer="gh", content=content, title="Mend it", url="https://github.com/o/r/pull/1")
    assert default_text(make_delivery(), message) == f"From octocat to al: {content}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\u202egpj.exe\u2066b\u2069", "agpj.exeb", id="direction"),
        pytest.param("see TG://resolve?domain=x", "see resolve?domain=x", id="link into the app"),
        pytest.param("tgtg://://x", "x", id="one within another"),
        pytest.param("a\0b\ud800c", "ab?c", id="what is no text"),
        pytest.param("שלום, <b>&amp; \U0001f600\n\t", "שלום, <b>&amp; \U0001f600\n\t", id="all else stays"),
    ],
)
def test_cleaning(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def without_space(text: str) -> str:
    return "".join(text.split())


def unmarked(parts: list[str]) -> list[str]:
    return [part.partition("\n")[2] for part in parts] if len(parts) > 1 else parts


@given(text=st.text(st.sampled_from("ab \n\U0001f600é\u0301\u200d"), max_size=400), limit=st.integers(64, 120))
@settings(max_examples=300, deadline=None)
def test_parts_fit_are_not_blank_and_lose_nothing(text: str, limit: int) -> None:
    parts = list(split_text(text, limit, parts=9))
    assert all(utf16_units(part) <= limit for part in parts)
    assert all(part.strip() for part in unmarked(parts))
    assert all(part.encode("utf-16") for part in parts)  # raises for half a surrogate pair
    whole = without_space("".join(unmarked(parts)))
    if len(parts) < 9:
        assert whole == without_space(text)


@given(text=st.text(max_size=2000), limit=st.integers(64, 200), parts=st.integers(2, 5))
@settings(max_examples=300, deadline=None)
def test_there_are_never_more_parts_than_asked_for(text: str, limit: int, parts: int) -> None:
    made = split_text(text, limit, parts)
    assert len(made) <= parts
    assert all(utf16_units(part) <= limit for part in made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a" * 64, ["a" * 64], id="just fits"),
        pytest.param(" \n", [], id="blank"),
        pytest.param("", [], id="empty"),
        pytest.param("a" * 40 + "\n\n" + "b c\n" * 8, ["1/2\n" + "a" * 40, "2/2\n" + "b c\n" * 8], id="paragraph"),
        pytest.param("a" * 40 + "\n" + "b c " * 8, ["1/2\n" + "a" * 40, "2/2\n" + "b c " * 8], id="line"),
        pytest.param("a" * 40 + " " + "b" * 40, ["1/2\n" + "a" * 40, "2/2\n" + "b" * 40], id="word"),
        pytest.param("a" * 70, ["1/2\n" + "a" * 60, "2/2\n" + "a" * 10], id="hard"),
        pytest.param("\U0001f600" * 33, ["1/2\n" + "\U0001f600" * 30, "2/2\n" + "\U0001f600" * 3], id="UTF-16 units"),
        pytest.param(
            "a" * 57 + FAMILY + "b", ["1/2\n" + "a" * 57, "2/2\n" + FAMILY + "b"], id="a family stays together"
        ),
    ],
)
def test_splitting(text: str, expected: list[str]) -> None:
    assert list(split_text(text, 64)) == expected


def test_what_does_not_fit_is_left_out_and_said() -> None:
    text = "x" * 100_000
    parts = split_text(text, 4096)
    assert [part[:4] for part in parts] == ["1/5\n", "2/5\n", "3/5\n", "4/5\n", "5/5\n"]
    sent = sum(part.count("x") for part in parts)
    assert parts[-1].endswith(f"\n… {100_000 - sent} characters are left out")
    assert utf16_units(parts[-1]) <= 4096
    assert sent > 20_000
