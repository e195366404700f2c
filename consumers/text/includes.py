"""Includes: the named templates that a template takes in by `{% include "name" %}`, and those that these take in.

A name is written out: what a text is made of is so known before there is a message, and a template in use is not deleted. It is
written in one way, so that the delivery worker finds it without parsing, which takes 0.3 s of 20,000 characters.
"""

import re  # for our own constant patterns
from collections.abc import Collection, Iterator, Mapping

from jinja2 import TemplateSyntaxError, nodes

from consumers.text.template_process import TemplateEnvironment
from notifier.errors import TemplateFailed

MAX_DEPTH = 8  # named templates within one another
MAX_INCLUDED = 50  # named templates that one text is made of
_MENTION = re.compile(r"""\binclude\s*(["'])([a-z0-9-]{1,63})\1""")
_ENVIRONMENT = TemplateEnvironment()


def fault_of(node: nodes.Include, mentioned: Collection[str]) -> str | None:
    """Why a template may not include so, in words; None: it may. `mentioned`: of its source."""
    if _name(node) not in mentioned:
        return 'include names one template, in quotes: {% include "footer" %}'
    if node.ignore_missing:
        return "include stands without `ignore missing`: what it names is always there"
    return None


def _name(node: nodes.Include) -> object:
    return node.template.value if isinstance(node.template, nodes.Const) else None


def mentioned(source: str) -> tuple[str, ...]:
    """The names that a template may include, each once, in their order: those in its texts and comments are among them."""
    return tuple(dict.fromkeys(found[2] for found in _MENTION.finditer(source)))


def included(source: str) -> tuple[str, ...]:
    """The names that a template includes itself, each once, in their order; none where it is no template."""
    names = mentioned(source)
    if not names:
        return ()
    try:
        found = {_name(node) for node in _ENVIRONMENT.parse(source).find_all(nodes.Include)}
    except (TemplateSyntaxError, RecursionError, ValueError, OverflowError):  # see `consumers.text.template`
        return ()
    return tuple([name for name in names if name in found])


def pieces(source: str, templates: Mapping[str, str]) -> dict[str, str]:
    """The named templates that a text is made of, out of all: those that its template includes, those within these, and so on.

    One that is not there is left out; the text fails where it comes to it. Raises TemplateFailed where they are too many.
    """
    found: dict[str, str] = {}
    waiting = list(_there(source, templates))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if len(found) == MAX_INCLUDED:
            raise TemplateFailed(f"it is made of more than {MAX_INCLUDED} named templates")
        found[name] = templates[name]
        waiting += _there(found[name], templates)
    return found


def _there(source: str, templates: Mapping[str, str]) -> Iterator[str]:
    return (name for name in mentioned(source) if name in templates)
