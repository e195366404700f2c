"""What the filters of templates mark, and that nothing else does."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.text import template_process
from consumers.text.marks import marked_of
from consumers.text.reader import Reader
from consumers.text.template import check_template, variables_of
from consumers.text.template_process import CLOSE, DIGITS, OPEN, STYLES, _Rendering
from notifier import Marked, Span, web_address
from tests.rigs.plugin_world import make_delivery

RENDERING = _Rendering()
FIELDS = {"title": "CI", "url": "https://ci/1", "occurred_at": "2026-11-29T18:00:00Z", "build": 7, "log": "a\nb\n"}
MOSCOW = Reader(language="ru", timezone="Europe/Moscow")


def rendered(template: str, message: dict[str, Any] | None = None, reader: Reader = Reader()) -> Marked:  # noqa: B008
    check_template(template)
    variables = variables_of(make_delivery(message={**FIELDS, **(message or {})}), reader)
    answer = RENDERING.answer({"template": template, "variables": variables})
    assert "error" not in answer, answer
    return marked_of(answer["text"], answer.get("values", ()))


def shown(text: Marked) -> str:
    """The text with its spans written out: `<bold>CI</bold>`."""
    places: list[tuple[int, int, str]] = []
    for number, span in enumerate(text.spans):
        value = f" {span.value}" if span.value else ""
        places += [(span.start, number, f"<{span.style}{value}>"), (span.end, -1 - number, f"</{span.style}>")]
    made = text.text
    for place, _, tag in sorted(places, key=lambda one: (one[0], one[1] >= 0, one[1]), reverse=True):
        made = made[:place] + tag + made[place:]
    return made


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("{{ message.title|bold }}!", "<bold>CI</bold>!", id="bold"),
        pytest.param("{{ message.build|italic }}", "<italic>7</italic>", id="a number"),
        pytest.param("{{ message.title|bold|italic }}", "<italic><bold>CI</bold></italic>", id="both"),
        pytest.param("{{ message.title|bold|bold }}", "<bold>CI</bold>", id="twice"),
        pytest.param("{{ message.title|link(message.url) }}", "<link https://ci/1>CI</link>", id="link"),
        pytest.param(
            "{{ message.title|link(message.url)|upper }}", "<link https://ci/1>CI</link>", id="changed afterwards"
        ),
        pytest.param("{{ 'a'|link('mailto:a@b') }}", "<link mailto:a@b>a</link>", id="mailbox"),
        pytest.param("{{ message.title|link('javascript:x') }}{{ 'x'|link('tg://y') }}", "CIx", id="no web address"),
        pytest.param("{{ message.title|link(message.sender) }}", "CI", id="no address"),
        pytest.param("{{ 'x'|link('https://a/\u202eb') }}", "x", id="an address that reads as another"),
        pytest.param("{{ message.sender|bold }}{{ message.sender|link(message.url) }}.", ".", id="nothing to mark"),
        pytest.param("{{ ''|bold }}{{ ' '|code }}.", " .", id="nothing to see in it"),
        pytest.param("{{ 'x'|code|link('https://a') }}", "<link https://a>x</link>", id="of link and code the link"),
        pytest.param("{{ 'x'|bold|code }}", "<code>x</code>", id="nothing within a code"),
        pytest.param(
            "{{ ('a ' ~ 'x'|code ~ ' b')|bold }}", "<bold>a </bold><code>x</code><bold> b</bold>", id="code interrupts"
        ),
        pytest.param(
            "{{ 'a'|link('https://a') }}{{ 'b'|link('https://b') }}",
            "<link https://a>a</link><link https://b>b</link>",
            id="two links",
        ),
        pytest.param(
            "{{ 'see '|bold ~ message.log|pre('py') }}end", "<bold>see </bold>\n<pre py>a\nb</pre>\nend", id="a block"
        ),
        pytest.param("{{ 'x'|pre }}", "<pre>x</pre>", id="a block alone"),
        pytest.param("{{ 'x'|pre('a b') }}", "<pre>x</pre>", id="no language"),
        pytest.param("{{ (message.content|bold)[:4] }}-{{ 'x'|bold }}", "bui-<bold>x</bold>", id="cut afterwards"),
        pytest.param(
            "{% for w in ['a', 'b'] %}{{ w|link('https://x/' ~ w) }} {% endfor %}",
            "<link https://x/a>a</link> <link https://x/b>b</link> ",
            id="in a loop",
        ),
        pytest.param("{% macro m(x) %}{{ x|bold }}{% endmacro %}{{ m('a') }}", "<bold>a</bold>", id="in a macro"),
        pytest.param("{{ message.title|bold|length }}", "4", id="marks count in a length"),
    ],
)
def test_the_filters_mark(template: str, expected: str) -> None:
    for _ in range(2):  # as it is compiled, and as it was
        assert shown(rendered(template)) == expected


@pytest.mark.parametrize(
    ("template", "reader", "expected"),
    [
        pytest.param("{{ message.occurred_at|time }}", Reader(), "29 Nov 2026, 18:00 UTC", id="nobody says"),
        pytest.param("{{ message.occurred_at|time }}", MOSCOW, "29 ноября 2026, 21:00 MSK", id="words and zone"),
        pytest.param("{{ message.occurred_at|time('%H:%M') }}", MOSCOW, "21:00", id="a form"),
        pytest.param("{{ message.occurred_at }}", MOSCOW, "2026-11-29T21:00:00+03:00", id="as a field"),
        pytest.param("{{ message.occurred_at }}", Reader(), "2026-11-29T18:00:00Z", id="as it was"),
        pytest.param("{{ message.not_before|time }}.", MOSCOW, ".", id="absent"),
        pytest.param(
            "{{ 'Да' if language == 'ru' else 'Yes' }} {{ timezone }}", MOSCOW, "Да Europe/Moscow", id="names"
        ),
        pytest.param(
            "{{ 'Да' if language == 'ru' else 'Yes' }} {{ timezone }}", Reader(), "Yes ", id="names of nobody"
        ),
    ],
)
def test_times_and_words_are_the_readers(template: str, reader: Reader, expected: str) -> None:
    assert rendered(template, reader=reader).text == expected


@pytest.mark.parametrize("value", ["yesterday", "2026-11-29T18:00:00", "", "0001-01-01T00:00:00+23:59"])
def test_what_is_no_time_fails(value: str) -> None:
    variables = variables_of(make_delivery(message={"at": value}), MOSCOW)
    assert "error" in RENDERING.answer({"template": "{{ message.at|time }}", "variables": variables})


MARK = st.sampled_from([*OPEN, CLOSE, *DIGITS, "\ufdef"])
TEMPLATES = [
    "{{ message.content }}",
    "{{ message.labels.l|upper }}",
    "{% for k in message.labels %}{{ k }}{% endfor %}",
    "{{ message.n[0].x }}",
    "{{ sender }}{{ message.content|bold }}",
]


CHARACTERS = st.characters(exclude_categories=["Cs"])  # no record can hold a lone surrogate


@given(text=st.text(st.one_of(MARK, CHARACTERS, st.sampled_from("ab<*_")), max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_message_can_forge_a_mark(text: str) -> None:
    plain = "".join(one for one in text if not "\ufdd0" <= one <= "\ufdef")
    for template in TEMPLATES:
        message = {"content": text, "labels": {"l": text, text: "x"}, "n": [{"x": text}]}
        clean = {"content": plain, "labels": {"l": plain, plain: "x"}, "n": [{"x": plain}]}
        made = rendered(template, message)
        assert made == rendered(template, clean)
        assert {span.style for span in made.spans} <= {"bold"}


@given(
    text=st.text(st.one_of(MARK, MARK, MARK, st.sampled_from("ab \n\u200b\x1b[m")), max_size=60),
    values=st.lists(st.just("https://x"), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_whatever_marks_there_are_the_spans_are_as_promised(text: str, values: list[str]) -> None:
    made = marked_of(text, values)
    assert not any("\ufdd0" <= one <= "\ufdef" for one in made.text)
    assert all(0 <= span.start < span.end <= len(made.text) and span.style in STYLES for span in made.spans)
    assert all((one.start, -one.end) <= (two.start, -two.end) for one, two in pairwise(made.spans))
    for number, span in enumerate(made.spans):
        if span.style == "pre":
            assert made.text[span.start - 1 : span.start] in ("", "\n")
            assert made.text[span.end : span.end + 1] in ("", "\n")
        for other in made.spans[number + 1 :]:
            if other.start < span.end:
                assert other.end <= span.end
                assert other.style != span.style
                assert not {other.style, span.style} & {"code", "pre"}


def test_links_that_nobody_sees_are_counted() -> None:
    template = "{% for n in range(2000) %}{% set x = 'a'|link('https://x') %}{% endfor %}b"
    answer = RENDERING.answer({"template": template, "variables": variables_of(make_delivery())})
    assert "more than 1000 links" in answer["error"]


def test_many_marks_are_read_quickly() -> None:
    marked_of(OPEN[0] * 20_000 + "x" + CLOSE * 20_000, ())  # what is quadratic takes minutes
    marked_of((OPEN[0] + "x" + OPEN[2] + "y" + CLOSE + CLOSE) * 10_000, ())
    marked_of(OPEN[0] + (OPEN[3] + "y" + CLOSE) * 10_000 + CLOSE, ())


def test_links_lead_where_the_default_text_would_lead() -> None:
    assert template_process._ADDRESS.pattern == web_address._ADDRESS.pattern
    assert template_process._MAX_ADDRESS == web_address.MAX_ADDRESS


def test_spans_are_told_apart_by_place() -> None:
    assert marked_of(f"a{OPEN[4]}{DIGITS[1]}b{CLOSE}", ["https://x", "https://y"]) == Marked(
        "ab", (Span(start=1, end=2, style="link", value="https://y"),)
    )
