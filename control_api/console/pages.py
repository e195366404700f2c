"""Pages: HTML from the templates beside this file, and what each may load and do (its Content-Security-Policy)."""

from functools import cache

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from control_api.console.assets import FOLDER, address

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:"
PLAIN = f"{_NOTHING}; style-src 'self'"
# No script comes from anywhere but us, and none is made of text.
DOCS = f"{PLAIN}; script-src 'self'; connect-src 'self'"
# GraphiQL's dialogs put a style into the page, and its fonts are in its own style sheet.
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
    """A page."""
    # Without a referrer browsers say `Origin: null` in forms, and we could not tell our own from another site's.
    own = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin", **(headers or {})}
    return HTMLResponse(_environment().get_template(template).render(values), status, headers=own)
