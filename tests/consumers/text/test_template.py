"""Templates, hostile ones included, in their real process; and their check when a configuration is saved."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumers.text.template import Renderer, check_template, variables_of
from consumers.text.template_process import TemplateEnvironment, _Rendering
from control_api.definitions.spec import read
from notifier import Marked
from notifier.errors import InputError, TemplateFailed
from notifier.registry import Registry
from notifier.seal import Seal, generate_key
from tests.rigs.plugin_world import make_delivery


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
        pytest.param("{{ '!!' if message.severity == 'debug' }}.", ".", id="one branch"),
        pytest.param("{{ message.labels.stage|upper }}.", ".", id="a label that is not there"),
        pytest.param("{{ message.title|map('upper') }}", "['C', 'I']", id="a list in place of an iterator"),
        pytest.param("{% for u in recipients %}{{ u }} {% else %}none{% endfor %}", "none", id="loop"),
        pytest.param("{% set n = message.content|upper %}{{ n|replace('BUILD', '<b>') }}", "<b> FAILED", id="filters"),
        pytest.param("{{ '\\ud800' }}x", "?x", id="lone surrogate"),
    ],
)
async def test_a_template_renders(renderer: Renderer, template: str, expected: str) -> None:
    check_template(template)
    assert (await renderer.render(template, make_delivery(message=FIELDS))).plain() == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param("{{ mesage.title }}", "'mesage' is undefined", id="unknown name"),
        pytest.param("{{ message.colour }}", "no attribute 'colour'", id="unknown field"),
        pytest.param("{{ 1 / 0 }}", "division", id="error in it"),
        pytest.param("{{ message['__class__'].__mro__ }}", "no attribute '__class__'", id="class by item"),
        pytest.param("{{ message.__class__() }}", "unsafe", id="class by call"),
        pytest.param("{{ ''.__class__.__mro__ }}", "unsafe", id="class"),
        pytest.param("{{ (''|attr('__class__')).x }}", "unsafe", id="class by attr"),
        pytest.param("{{ '{0.__class__}'.format(1).x }}", "unsafe", id="format"),
        pytest.param("{{ ''|attr('format')|attr('__self__') }}", "", id="CVE-2025-27516"),
        pytest.param("{{ lipsum.__globals__ }}", "'lipsum' is undefined", id="lipsum"),
        pytest.param("{{ cycler.__init__ }}", "unsafe", id="cycler"),
        pytest.param("{{ recipients.append(1) }}", "unsafe", id="changing a list"),
        pytest.param("{% include '/etc/passwd' %}", "there is no template '/etc/passwd'", id="include"),
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
    delivery = make_delivery(message=FIELDS)
    with pytest.raises(TemplateFailed) as failed:
        await renderer.render(template, delivery)
    assert words in str(failed.value)
    assert "\n" not in str(failed.value)
    assert (await renderer.render("{{ message.title }}", delivery)).text == "CI"


ABSENT = {
    "title": None,
    "author": None,
    "numbers": [3, None, 1],
    "words": ["b", None, "A"],
    "values": {"B": 22, "none": None, "items": 4},
    "labels": {"items": "3", "keys": "k", "update": "u", "get": "g"},
}


def test_nothing_stays_nothing_through_every_filter() -> None:
    """Of a field that is not set, that is null, and of a label that is not there."""
    rendering = _Rendering()
    told = {"count": "0", "float": "0.0", "int": "0", "length": "0", "sum": "0", "tojson": "null", "wordcount": "0"}
    variables = variables_of(make_delivery(message=ABSENT))
    for name in TemplateEnvironment().filters:
        for absent in ("message.url", "message.title", "message.values.none", "message.labels.stage"):
            answer = rendering.answer({"template": f"{{{{ {absent}|{name} }}}}|", "variables": variables})
            assert answer == {"text": told.get(name, "") + "|"}, f"{absent}|{name}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("{{ message.title ~ ': ' ~ message.content }}", ": build failed", id="joined"),
        pytest.param("{{ message.title + ': ' + message.content }}", ": build failed", id="added"),
        pytest.param("{{ 1 + message.title }}{{ message.title * 2 - 1 }}", "1", id="counted"),
        pytest.param("{{ message.title|default('no title') }}", "no title", id="default"),
        pytest.param("{{ message.title|truncate(20) }}|{{ message.url|center }}", "|", id="of the case"),
        pytest.param("{{ '%s!'|format(message.title) }}{{ '%s{}' % message.title }}", "!{}", id="formatted"),
        pytest.param("{{ '{}'.format(message.title) }}.", ".", id="formatted by a method"),
        pytest.param("{{ message.author.name.first }}{{ message.title.upper() }}{{ message.title[0] }}.", ".", id="deep"),
        pytest.param("{{ message.title is defined }} {{ message.title is none }}", "False True", id="tests"),
        pytest.param("{{ message.title == '' }} {{ message.title in message.content }}", "True True", id="compared"),
        pytest.param("{{ message.title > 3 }} {{ 3 > message.title }}", "False True", id="in an order"),
        pytest.param("{% for a in message.title %}{{ a }}{% else %}none{% endfor %}", "none", id="loop"),
        pytest.param("{{ message.numbers|sort }} {{ message.numbers|max }}", "['', 1, 3] 3", id="sorted numbers"),
        pytest.param("{{ message.numbers|sum }}{{ message.numbers|min }}", "4", id="sum and minimum"),
        pytest.param("{{ message.words|sort|join('-') }} {{ message.words|map('lower')|join }}", "-A-b ba", id="words"),
        pytest.param("{{ [message]|map(attribute='title', default='?')|join }}", "?", id="attribute with a default"),
        pytest.param("{{ [1, 2]|select('>', 5)|first }}.", ".", id="first of an empty list"),
        pytest.param("{{ {'t': message.title, 'n': [message.url]}|tojson }}", '{"n": [null], "t": null}', id="json"),
        pytest.param("{{ message.labels.get('stage') ~ '.' }}", ".", id="what a method does not find"),
        pytest.param("{{ message.labels.items }} {{ message.labels['keys'] }}", "3 k", id="labels"),
        pytest.param("{{ message.labels|attr('update') }}", "u", id="a label by a filter"),
        pytest.param("{{ message.values.B }} {{ message.values.items }}", "22 4", id="fields named like methods"),
        pytest.param("{{ message.labels.values }}{{ message.labels.pop }}.", ".", id="labels that are not there"),
        pytest.param("{% for k, v in message.labels.items() %}{{ k }}{% endfor %}", "itemskeysupdateget", id="calls"),
        pytest.param("{{ message.labels.get('get') }} {{ message.labels.keys()|first }}", "g items", id="calls of others"),
    ],
)  # fmt: skip
def test_what_is_absent_is_nothing_and_what_is_there_goes_before_methods(template: str, expected: str) -> None:
    check_template(template)
    answer = _Rendering().answer({"template": template, "variables": variables_of(make_delivery(message=ABSENT))})
    assert answer == {"text": expected}


@pytest.mark.parametrize(
    "template",
    [
        "{{ sender.upper }}",
        "{{ configuration.title ~ '' }}",
        "{{ message.items }}",
        "{{ recipients.count|string }}",
        "{{ message.content|attr('title') }}",
        "{{ message|attr('()items') }}",
        "{{ range }}",
        "{% macro m() %}{% endmacro %}{{ m }}",
        "{% for a in [1] %}{{ loop }}{% endfor %}",
    ],
)
def test_of_python_nothing_is_shown(template: str) -> None:
    answer = _Rendering().answer({"template": template, "variables": variables_of(make_delivery(message=ABSENT))})
    assert list(answer) == ["error"]


@pytest.mark.parametrize(
    "template", ["", " \n", "{{ message.title }}", "{{ '\u2060\u3164\u200b' }}", "\x1b[31m\x1b[0m"]
)
async def test_a_text_without_anything_to_see_is_a_failure(renderer: Renderer, template: str) -> None:
    with pytest.raises(TemplateFailed, match="the text is empty"):
        await renderer.render(template, make_delivery())


async def test_many_texts_at_once_are_not_mixed_up(renderer: Renderer) -> None:
    texts = await asyncio.gather(
        *(renderer.render("{{ message.content }}!", make_delivery(f"text {number}")) for number in range(100))
    )
    assert texts == [Marked(f"text {number}!") for number in range(100)]


async def test_a_large_message_goes_through(renderer: Renderer) -> None:
    assert await renderer.render("{{ message.content|length }}", make_delivery("x" * 800_000)) == Marked("800000")


async def test_a_process_that_was_killed_is_replaced(renderer: Renderer) -> None:
    assert await renderer.render("{{ message.content }}", make_delivery("a")) == Marked("a")
    for process in renderer._idle:
        process.kill()
        await process.wait()
    assert await renderer.render("{{ message.content }}", make_delivery("b")) == Marked("b")


async def test_the_process_has_nothing_secret_in_its_environment(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFIER_SECRET_KEY", "canary")
    await renderer.render("x", make_delivery())
    (process,) = renderer._idle
    with open(f"/proc/{process.pid}/environ") as file:  # noqa: PTH123 - it has no size, which pathlib asks for
        assert "canary" not in file.read()


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param("{{ message.title ", "line 1: unexpected", id="not closed"),
        pytest.param("a\n{% if %}", "line 2: ", id="no condition"),
        pytest.param("{{ message|shout }}", "no filter 'shout'", id="filter"),
        pytest.param("{{ 1 is shiny }}", "no test 'shiny'", id="test"),
        pytest.param("{{ mesage.title }}", "no 'mesage' (known: message, sender", id="name"),
        pytest.param("{{ lipsum() }}", "no 'lipsum'", id="global that is taken away"),
        pytest.param("{% extends 'x' %}", "cannot import or extend", id="extends"),
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
