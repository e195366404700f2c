"""Pages: HTML from the templates beside this file, each with its Content-Security-Policy."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from control_api.console.assets import FOLDER, address
from control_api.console.words import number_in_words, time_in_words, translations
from notifier.record import rfc3339

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:"
PLAIN = f"{_NOTHING}; style-src 'self'"
# Scripts come from this address only; no inline script, no `eval`.
ENHANCED = f"{PLAIN}; script-src 'self'; connect-src 'self'"
DOCS = ENHANCED
# GraphiQL's dialogs set inline styles, and its style sheet holds its fonts.
EDITOR = DOCS.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'") + "; font-src 'self' data:"


def page(
    template: str,
    *,
    policy: str = PLAIN,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    language: str = "en",
    theme: str = "auto",
    **values: object,
) -> HTMLResponse:
    """The page of a template. `policy` is its Content-Security-Policy."""
    # With the policy `no-referrer` browsers send `Origin: null` with forms, as if from another site.
    own = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin", **(headers or {})}
    text = _environment(language).get_template(template).render(language=language, theme=theme, **values)
    return HTMLResponse(text, status, headers=own)


@cache
def _environment(language: str) -> Environment:
    loader = FileSystemLoader(FOLDER.parent / "console" / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    words = translations(language)
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # of the extension
        words.gettext, words.ngettext, newstyle=True
    )
    environment.globals["asset"] = address
    environment.filters |= {"at": _at, "number": lambda number: number_in_words(number, language), "iso": _iso}
    return environment


@pass_context
def _at(context: Context, moment: Any) -> str:
    """A moment, or the text of one, in the reader's zone."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return time_in_words(moment, context["language"], context["zone"])


def _iso(moment: Any) -> str:
    return moment if isinstance(moment, str) else rfc3339(moment)
