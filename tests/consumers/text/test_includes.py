"""Named templates within templates: how they may be named, what they are made of, and their rendering in the real process."""

from collections.abc import AsyncIterator, Mapping

import pytest

from consumers.text.includes import MAX_INCLUDED, included, pieces
from consumers.text.template import Renderer, check_template
from consumers.text.texts import Texts
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.errors import InputError, TemplateFailed
from notifier.registry import Registry
from tests.rigs.plugin_world import make_delivery

NAMED = {
    "title": "[{{ message.title }}]",
    "head": '{% include "title" %} for {{ receiver }}{% set left = "x" %}',
    "labels": "{% for name, value in message.labels.items() %}{{ name }}={{ value }};{% endfor %}",
    "failing": "{{ message.colour }}",
    "circle": 'o{% include "circle" %}',
    "large": "{{ 'x' * 40000 }}",
    "broken": "{% if %}",
    **{f"twice-{n}": f'{{% include "twice-{n + 1}" %}}' * 2 for n in range(40)},
    "twice-40": "{{ '' }}",
}
FIELDS = {"title": "CI", "labels": {"team": "infra"}}


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    yield renderer
    await renderer.close()


def _texts(renderer: Renderer, template: str, named: Mapping[str, str]) -> Texts:
    definitions = [
        Definition(kind="template", name=name, revision=1, spec={"content": text}) for name, text in named.items()
    ]
    definitions.append(Definition(kind="configuration", name="all", revision=1, spec={"template": template}))
    catalog = Catalog(registry=Registry()).with_changes((one.kind, one.name, one) for one in definitions)
    return Texts(renderer, catalog)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param('{% include "head" %}: {{ message.content }}', "[CI] for al: build failed", id="within another"),
        pytest.param('{% include "title" %}{% include "title" %}', "[CI][CI]", id="twice"),
        pytest.param(
            '{% for n in [1, 2] %}{% include "labels" %}{% endfor %}', "team=infra;team=infra;", id="in a loop"
        ),
        pytest.param('{% if false %}{% include "failing" %}{% endif %}x', "x", id="not reached"),
        pytest.param('include "gone"{# include "title" #}', 'include "gone"', id="a text and a comment"),
        pytest.param('{% set s %}{% include "title" %}{% endset %}{{ s|lower }}', "[ci]", id="as a value"),
        pytest.param('{% set left = 1 %}{% include "head" %}{{ left }}', "[CI] for al1", id="what it sets stays in it"),
    ],
)
async def test_a_template_includes_named_ones(renderer: Renderer, template: str, expected: str) -> None:
    check_template(template)
    rendered, failed = await _texts(renderer, template, NAMED).of(make_delivery(message=FIELDS))
    assert (rendered.body.plain(), failed) == (expected, None)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param('{% include "gone" %}', "there is no template 'gone'", id="not there"),
        pytest.param('{% include "failing" %}', "no attribute 'colour'", id="error in it"),
        pytest.param('{% include "circle" %}', "nested too deeply", id="circle"),
        pytest.param('{% include "twice-0" %}', "more processor time", id="doubled forty times"),
        pytest.param('{% include "large" %}' * 2, "longer than 64 KiB", id="too long together"),
        pytest.param('{% include "broken" %}', "Expected an expression", id="no template"),
    ],
)
async def test_what_cannot_be_included_costs_that_text_alone(renderer: Renderer, template: str, words: str) -> None:
    rendered, failed = await _texts(renderer, template, NAMED).of(make_delivery(message=FIELDS))
    assert not rendered.templated
    assert failed is not None
    assert words in failed
    rendered, failed = await _texts(renderer, '{% include "title" %}', NAMED).of(make_delivery(message=FIELDS))
    assert (rendered.body.plain(), failed) == ("[CI]", None)


async def test_a_changed_template_counts_at_once(renderer: Renderer) -> None:
    template, delivery = '{% include "title" %}', make_delivery(message=FIELDS)
    for title in ("a", "b", "a"):
        rendered, _ = await _texts(renderer, template, {"title": title}).of(delivery)
        assert rendered.body.plain() == title


def test_a_text_is_made_of_all_that_is_included_and_of_no_more() -> None:
    assert pieces('{% include "head" %}', NAMED) == {name: NAMED[name] for name in ("head", "title")}
    assert pieces("no include", NAMED) == {}
    assert included('{%- include "b" -%}{% if x %}{% include "a" %}{% endif %}{% include "b" %}') == ("b", "a")
    assert included(
        '{%include"a"%}{%+ include\n\t\'b\' -%}{# include "c" #}{% raw %}{% include "d" %}{% endraw %}'
    ) == ("a", "b")
    assert included("{% include") == included('{% include "a" %}{% if %}') == ()
    chain = {f"n{n}": f'{{% include "n{n + 1}" %}}' for n in range(MAX_INCLUDED)} | {f"n{MAX_INCLUDED}": "x"}
    assert len(pieces(chain["n0"], chain)) == MAX_INCLUDED
    assert pieces('{% include "head" %}{% include "gone" %}', {"head": "x"}) == {"head": "x"}
    with pytest.raises(TemplateFailed, match="more than 50"):
        pieces('{% include "n0" %}', chain)


@pytest.mark.parametrize(
    "include",
    ["include name", "include ['a', 'b']", "include 'a' if x else 'b'", "include 'a' ~ 'b'", "include 'a' 'b'",
     "include ('a')", r"include '\x61'", "include '../a'", "include 'A'", "include 7", "include 'a' ignore missing",
     "import 'a' as a", "from 'a' import b", "extends 'a'"],
)  # fmt: skip
def test_only_one_template_whose_name_is_written_out_is_included(include: str) -> None:
    with pytest.raises(InputError) as refused:
        check_template(f"a\n{{% set name, x = 'a', 1 %}}{{% {include} %}}", "/content")
    (error,) = refused.value.errors
    assert error.pointer == "/content"
    assert "line 2: " in error.detail
