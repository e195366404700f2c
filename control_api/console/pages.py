"""Pages: HTML from the templates beside this file, each with its Content-Security-Policy."""

from functools import cache

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from control_api.console.assets import FOLDER, address

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:"
PLAIN = f"{_NOTHING}; style-src 'self'"
# Scripts come from this address only; no inline script, no `eval`.
DOCS = f"{PLAIN}; script-src 'self'; connect-src 'self'"
# GraphiQL's dialogs set inline styles, and its style sheet holds its fonts.
EDITOR = DOCS.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'") + "; font-src 'self' data:"


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(FOLDER.parent / "console" / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.globals["asset"] = address
    return environment


def page(
    template: str, *, policy: str = PLAIN, status: int = 200, headers: dict[str, str] | None = None, **values: object
) -> HTMLResponse:
    """The page of a template. `policy` is its Content-Security-Policy."""
    # With the policy `no-referrer` browsers send `Origin: null` with forms, as if from another site.
    own = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin", **(headers or {})}
    return HTMLResponse(_environment().get_template(template).render(values), status, headers=own)
