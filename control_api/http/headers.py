"""Headers of a request, by name: made once for a request, where Starlette's look through all of them each time."""

from starlette.types import Scope

_KEY = "notifier.headers"  # in the ASGI scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that name, which is in small letters."""
    found: dict[bytes, bytes] | None = scope.get(_KEY)
    if found is None:
        found = scope[_KEY] = dict(reversed(scope["headers"]))
    value = found.get(name)
    return None if value is None else value.decode("latin-1")
