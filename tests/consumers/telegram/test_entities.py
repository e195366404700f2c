"""Marked texts as entities, and what Telegram takes of them: every part that is made is legal by the Bot API's own rules."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.telegram.entities import (
    MAX_CAPTION,
    MAX_PARTS,
    MAX_TEXT,
    caption_of,
    content_of,
    entities_of,
    parts_of,
    parts_with_rest_left_out,
    with_links_of_the_web,
    without_markup,
)
from consumers.telegram.telegram import Telegram
from consumers.text.text import clean_marked, utf16_units
from notifier import Marked, Rendered, Span
from tests.rigs.bot_api_rules import wrong_with
from tests.rigs.plugin_world import make_delivery


def bold(text: str) -> Marked:
    return Marked(text, (Span(start=0, end=len(text), style="bold"),))


def link(text: str, address: str) -> Marked:
    return Marked(text, (Span(start=0, end=len(text), style="link", value=address),))


def pre(text: str, language: str = "") -> Marked:
    return Marked(text, (Span(start=0, end=len(text), style="pre", value=language),))


def joined(*pieces: Marked | str) -> Marked:
    text = Marked("")
    for piece in pieces:
        text += piece
    return text


def refusal(part: Marked, limit: int = MAX_TEXT) -> str | None:
    """What the Bot API has against a part."""
    form = {"text": part.text, "entities": json.dumps(entities_of(part))}
    assert utf16_units(part.text) <= limit
    return wrong_with("sendMessage", form, {})


def test_each_style_is_an_entity_counted_in_utf16_units() -> None:
    text = joined(bold("\U0001f468\u200d\U0001f469 Disk"), " on ", link("ho\u0301st", "https://h.example/?a=1"), "\n")
    text += joined(pre("df -h \U0001f1eb\U0001f1ee", "sh"), " ", Marked("x", (Span(start=0, end=1, style="code"),)))
    assert entities_of(text) == [
        {"type": "bold", "offset": 0, "length": 10},
        {"type": "text_link", "offset": 14, "length": 5, "url": "https://h.example/?a=1"},
        {"type": "pre", "offset": 20, "length": 10, "language": "sh"},
        {"type": "code", "offset": 31, "length": 1},
    ]
    assert refusal(text) is None
    assert entities_of(Marked("a < b & *c* _d_ [e](f)")) == []


_PIECES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["\n", "\n\n", " ", "\U0001f1eb\U0001f1ee", "\U0001f468\u200d\U0001f469\u200d\U0001f466", "நி", "각"]
    ),
    st.builds(bold, st.text(min_size=1, max_size=40)),
    st.builds(
        link, st.text(min_size=1, max_size=20), st.sampled_from(["https://h.example/" + "p" * n for n in (1, 900)])
    ),
    st.builds(pre, st.text(min_size=1, max_size=200), st.sampled_from(["", "python"])),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(_PIECES, max_size=30), st.integers(1, 60))
def test_every_part_of_any_text_is_one_that_telegram_takes(pieces: list[Marked | str], times: int) -> None:
    text = joined(*pieces * times)
    text = Marked(text.text.replace("\r", " "), text.spans)
    parts = parts_of(text)
    for part in parts_with_rest_left_out(text) if parts is None else parts:
        assert refusal(part) is None
    if parts is None:
        caption = caption_of(text)
        assert refusal(caption, MAX_CAPTION) is None
    else:
        assert len(parts) <= MAX_PARTS


def test_more_markup_than_telegram_takes_goes_in_more_parts() -> None:
    short = joined(*(link(f"{number:03}", f"https://h.example/{number}") + " " for number in range(250)))
    long = joined(*(link(f"{number:02}", f"https://h.example/{number}/{'p' * 900}") + " " for number in range(30)))
    for text, count in ((short, 3), (long, 4)):
        parts = parts_of(text)
        assert parts is not None
        assert len(parts) >= count
        assert [refusal(part) for part in parts] == [None] * len(parts)
        assert [span.value for part in parts for span in part.spans] == [span.value for span in text.spans]


def test_a_caption_is_the_head_and_says_that_there_is_more() -> None:
    caption = caption_of(joined(bold("Title"), "\n", "\U0001f600 words " * 6000))
    assert caption.text.startswith("Title\n\U0001f600 words")
    assert caption.text.endswith("\n…")
    assert caption.spans[0].style == "bold"
    assert 900 < utf16_units(caption.text) <= MAX_CAPTION


@pytest.mark.parametrize(
    ("text", "shown", "left"),
    [
        pytest.param(link("here", "https://h.example"), "here", ["https://h.example"], id="web"),
        pytest.param(link("here", "HTTP://h.example"), "here", ["HTTP://h.example"], id="capitals"),
        pytest.param(link("Ada", "mailto:ada@h.example"), "Ada (ada@h.example)", [], id="mail"),
        pytest.param(link("ada@h.example", "mailto:ada@h.example"), "ada@h.example", [], id="mail of that name"),
        pytest.param(
            joined(link("a", "mailto:a@h"), " ", link("b", "https://h"), " ", link("c", "mailto:c@h"), "."),
            "a (a@h) b c (c@h).", ["https://h"], id="several",
        ),
    ],
)  # fmt: skip
def test_links_that_telegram_does_not_know_are_written_out(text: Marked, shown: str, left: list[str]) -> None:
    found = with_links_of_the_web(text)
    assert (found.text, [span.value for span in found.spans]) == (shown, left)


def test_marks_around_a_link_that_is_written_out_stay() -> None:
    spans = (
        Span(start=0, end=12, style="bold"),
        Span(start=4, end=7, style="link", value="mailto:a@h"),
        Span(start=13, end=16, style="code"),
    )
    found = with_links_of_the_web(Marked("ask Ada soon now", spans))
    assert found.text == "ask Ada (a@h) soon now"
    assert [(found.text[span.start : span.end], span.style) for span in found.spans] == [
        ("ask Ada (a@h) soon", "bold"),
        ("now", "code"),
    ]
    end = Marked("Ada", (Span(start=0, end=3, style="bold"), Span(start=0, end=3, style="link", value="mailto:a@h")))
    assert with_links_of_the_web(end + ".") == Marked("Ada (a@h).", (Span(start=0, end=3, style="bold"),))


def test_the_content_of_a_document_is_the_plain_text() -> None:
    text = joined(bold("Title"), "\n", link("here", "https://h"), " or ", link("https://g", "https://g"), " ", pre("x"))
    assert content_of(text) == text.plain() == "Title\nhere (https://h) or https://g x"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("tg://user?id=1", "user?id=1"),
        ("TG://x tg:tg:////y", "x y"),
        ("stg://x", "stg://x"),  # another scheme
        ("tg:" * 2000 + "//x" + "//" * 2000, None),
    ],
)
def test_links_that_act_in_the_app_are_none(text: str, clean: str | None) -> None:
    found = clean_marked(bold(text) + " t" + bold("g://z"))
    assert re.search(r"(?<!s)tg://", found.text, re.IGNORECASE) is None
    assert clean is None or found.text == f"{clean} z"


def test_an_address_that_is_written_out_is_cleaned_too() -> None:
    consumer = Telegram(Telegram.Parameters.model_validate({"bot_token": "1:A", "chat_id": 1}))
    for text in (link("x", "mailto:tg://resolve?domain=y"), link("mailto:tg://a", "mailto:tg://a")):
        (part,) = consumer.parts(make_delivery(), Rendered(subject="", body=text))
        assert "tg:" not in part


def test_without_markup_the_addresses_are_kept_where_they_fit() -> None:
    short, long = link("here", "https://h.example"), link("h" * MAX_TEXT, "https://h.example")
    assert without_markup(short) == Marked("here (https://h.example)")
    assert without_markup(long) == Marked("h" * MAX_TEXT)
