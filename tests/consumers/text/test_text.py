"""Texts: the default one, cleaning, splitting, and templates, hostile ones included, in their real process."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.text.template import Renderer, check_template
from consumers.text.text import clean_text, default_text, split_text, utf16_units
from control_api.definitions.spec import read
from notifier import Delivery, Message
from notifier.errors import InputError, TemplateFailed
from notifier.registry import Registry
from notifier.seal import Seal, generate_key

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


def make(content: str = "build failed", message: dict[str, Any] | None = None, **fields: Any) -> Delivery:
    value = {"producer": "ci", "content": content, **(message or {})}
    return Delivery(
        id="ci/1/all/chat/alice",
        configuration="all",
        configuration_version=3,
        consumer="chat",
        lane="chat",
        message=msgspec.Raw(msgspec.json.encode(value)),
        message_id="1",
        **{"sender": "octocat", "receiver": "al", "recipient": "alice", **fields},
    )


# The default text


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
    delivery = make(message=message, **fields)
    assert default_text(delivery, delivery.read_message()) == expected


@pytest.mark.predecessor("S-42")
def test_a_pull_request_keeps_the_text_that_its_producer_made() -> None:
    content = "Mend it (https://github.com/o/r/pull/1)\nLabels: bug,ui"
    message = Message(producer="gh", content=content, title="Mend it", url="https://github.com/o/r/pull/1")
    assert default_text(make(), message) == f"From octocat to al: {content}"


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


# Splitting


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


# Templates


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    yield renderer
    await renderer.close()


FIELDS = {"title": "CI", "url": "https://ci/1", "labels": {"team": "infra"}, "severity": "error", "build": 7}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("{{ message.title }} ({{ message.url }})", "CI (https://ci/1)", id="of the contract"),
        pytest.param("{{ sender }} {{ receiver }} {{ configuration }}", "octocat al all", id="names"),
        pytest.param("{{ message.labels.team }} {{ message.severity }}", "infra error", id="labels"),
        pytest.param("[{{ message.occurred_at }}][{{ message.sender }}]", "[][]", id="not set"),
        pytest.param("{{ message.build + 1 }} {{ message.id }}", "8 1", id="what the producer added"),
        pytest.param("{% for u in recipients %}{{ u }} {% else %}none{% endfor %}", "none", id="loop"),
        pytest.param("{% set n = message.content|upper %}{{ n|replace('BUILD', '<b>') }}", "<b> FAILED", id="filters"),
        pytest.param("{{ '\\ud800' }}x", "?x", id="lone surrogate"),
    ],
)
async def test_a_template_renders(renderer: Renderer, template: str, expected: str) -> None:
    check_template(template)
    assert clean_text(await renderer.render(template, make(message=FIELDS))) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param("{{ mesage.title }}", "'mesage' is undefined", id="unknown name"),
        pytest.param("{{ message.colour }}", "no attribute 'colour'", id="unknown field"),
        pytest.param("{{ 1 / 0 }}", "division", id="error in it"),
        pytest.param("{{ message['__class__'].__mro__ }}", "unsafe", id="class by item"),
        pytest.param("{{ ''.__class__.__mro__ }}", "unsafe", id="class"),
        pytest.param("{{ (''|attr('__class__')).x }}", "unsafe", id="class by attr"),
        pytest.param("{{ '{0.__class__}'.format(1).x }}", "unsafe", id="format"),
        pytest.param("{{ ''|attr('format')|attr('__self__') }}", "", id="CVE-2025-27516"),
        pytest.param("{{ lipsum.__globals__ }}", "'lipsum' is undefined", id="lipsum"),
        pytest.param("{{ cycler.__init__ }}", "unsafe", id="cycler"),
        pytest.param("{{ recipients.append(1) }}", "unsafe", id="changing a list"),
        pytest.param("{% include '/etc/passwd' %}", "loader", id="include"),
        pytest.param("{{ range(10 ** 9)|list }}", "Range too big", id="range"),
        pytest.param("{{ 'a' * 10 ** 9 }}", "memory", id="1 GB text"),
        pytest.param("{{ message.content.ljust(10 ** 9) }}", "memory", id="1 GB pad"),
        pytest.param("{{ '%500000000d' % message.build }}", "memory", id="1 GB format"),
        pytest.param("{{ 'ab' * 40000 }}", "64 KiB", id="80 KB text"),
        pytest.param(
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "ended", id="endless loop"
        ),
        pytest.param("{{ 7 ** 99999999 }}", "ended", id="endless number"),
        pytest.param("{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "", id="deep nesting"),
    ],
)
async def test_a_hostile_template_fails_and_the_next_one_does_not(
    renderer: Renderer, template: str, words: str
) -> None:
    delivery = make(message=FIELDS)
    with pytest.raises(TemplateFailed) as failed:
        await renderer.render(template, delivery)
    assert words in str(failed.value)
    assert "\n" not in str(failed.value)
    assert await renderer.render("{{ message.title }}", delivery) == "CI"


async def test_many_texts_at_once_are_not_mixed_up(renderer: Renderer) -> None:
    texts = await asyncio.gather(
        *(renderer.render("{{ message.content }}!", make(f"text {number}")) for number in range(100))
    )
    assert texts == [f"text {number}!" for number in range(100)]


async def test_a_large_message_goes_through(renderer: Renderer) -> None:
    assert await renderer.render("{{ message.content|length }}", make("x" * 800_000)) == "800000"


async def test_a_process_that_was_killed_is_replaced(renderer: Renderer) -> None:
    assert await renderer.render("{{ message.content }}", make("a")) == "a"
    for process in renderer._idle:
        process.kill()
        await process.wait()
    assert await renderer.render("{{ message.content }}", make("b")) == "b"


async def test_the_process_has_nothing_secret_in_its_environment(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFIER_SECRET_KEY", "canary")
    await renderer.render("x", make())
    (process,) = renderer._idle
    with open(f"/proc/{process.pid}/environ") as file:  # noqa: PTH123 - it has no size, which pathlib asks for
        assert "canary" not in file.read()


# The check when a configuration is saved


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param("{{ message.title ", "line 1: unexpected", id="not closed"),
        pytest.param("a\n{% if %}", "line 2: ", id="no condition"),
        pytest.param("{{ message|shout }}", "no filter 'shout'", id="filter"),
        pytest.param("{{ 1 is shiny }}", "no test 'shiny'", id="test"),
        pytest.param("{{ mesage.title }}", "no 'mesage' (known: message, sender", id="name"),
        pytest.param("{{ lipsum() }}", "no 'lipsum'", id="global that is taken away"),
        pytest.param("{% include 'x' %}", "stands alone", id="include"),
        pytest.param("{{ " + "(" * 9000 + " }}", "nested too deeply", id="deep nesting"),
        pytest.param("{{ " + "9" * 5000 + " }}", "digits", id="long number"),
    ],
)
def test_a_template_that_cannot_be_one_is_refused(template: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        check_template(template)
    (error,) = refused.value.errors
    assert error.pointer == "/template"
    assert words in error.detail


def test_a_check_computes_nothing() -> None:
    check_template("{{ 'a' * 10 ** 12 }}{{ 7 ** 999999999 }}")  # compiling that would fill the memory of the API


def test_names_that_a_template_makes_itself_are_known() -> None:
    check_template(
        "{% set a = 1 %}{% for b in recipients %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}"
        "{% macro m(c) %}{{ c }}{% endmacro %}{{ m(1) }}{% with d = 2 %}{{ d }}{% endwith %}{{ range(3)|sum }}"
    )


def test_a_configuration_with_a_bad_template_is_not_stored() -> None:
    def stored(template: str) -> Any:
        seal = Seal(generate_key())
        return read("configuration", "all", {"template": template}, before=None, registry=Registry(), seal=seal).value

    assert stored("{{ message.title }}") == {"template": "{{ message.title }}"}
    with pytest.raises(InputError, match="/template"):
        stored("{{ message.title")
