"""Includes: the named templates that a template takes in by `{% include "name" %}`, and those that these take in.

A name is written out: what a text is made of is so known before there is a message, and a template in use is not deleted.
"""

import re  # for our own constant patterns
from collections.abc import Iterator, Mapping
from functools import lru_cache

from jinja2 import TemplateSyntaxError, nodes

from consumers.text.template_process import TemplateEnvironment
from notifier.definition.names import NAME_PATTERN
from notifier.errors import TemplateFailed

MAX_DEPTH = 8  # named templates within one another
MAX_INCLUDED = 50  # named templates that one text is made of
_NAME = re.compile(NAME_PATTERN.removeprefix("^").removesuffix("$"))
_ENVIRONMENT = TemplateEnvironment()


def fault_of(node: nodes.Include) -> str | None:
    """Why a template may not include so, in words; None: it may."""
    if name_of(node) is None:
        return 'include names one template, in quotes: {% include "footer" %}'
    if node.ignore_missing:
        return "include stands without `ignore missing`: what it names is always there"
    return None


def name_of(node: nodes.Include) -> str | None:
    """The name of the template that is included; None where none is written out."""
    name = node.template.value if isinstance(node.template, nodes.Const) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else None


@lru_cache(maxsize=256)
def included(source: str) -> tuple[str, ...]:
    """The names that a template includes itself, each once, in their order; none where it is no template."""
    if "include" not in source:
        return ()
    try:
        tree = _ENVIRONMENT.parse(source)
    except (TemplateSyntaxError, RecursionError, ValueError, OverflowError):  # see `consumers.text.template`
        return ()
    return tuple(dict.fromkeys(_names(tree)))


def _names(tree: nodes.Template) -> Iterator[str]:
    for node in tree.find_all(nodes.Include):
        name = name_of(node)
        if name is not None:
            yield name


def pieces(source: str, templates: Mapping[str, str]) -> dict[str, str]:
    """The named templates that a text is made of, out of all: those that its template includes, those within these, and so on.

    Raises TemplateFailed where one is not there, and where they are too many.
    """
    found: dict[str, str] = {}
    waiting = list(included(source))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in templates:
            raise TemplateFailed(f"there is no template {name!r} that can be used")
        if len(found) == MAX_INCLUDED:
            raise TemplateFailed(f"it is made of more than {MAX_INCLUDED} named templates")
        found[name] = templates[name]
        waiting += included(found[name])
    return found
