"""Content negotiation by the `Accept` header."""

from collections.abc import Sequence

from fastapi import Request

HTML = "text/html"


def preferred(request: Request, offered: Sequence[str]) -> str | None:
    """The offered media type of the highest quality, the first offered for `*/*`; None: none is acceptable."""
    accepted: list[tuple[float, str]] = []
    for part in request.headers.get("accept", "*/*").split(","):
        media_type, *parameters = (word.strip().lower() for word in part.split(";"))
        given = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        try:
            quality = float(given)
        except ValueError:
            quality = 0.0
        accepted.append((quality, media_type))
    for quality, media_type in sorted(accepted, key=lambda one: -one[0]):
        if quality <= 0:
            break
        if media_type in offered:
            return media_type
        if media_type in ("*/*", ""):
            return offered[0]
        group = media_type.removesuffix("*")
        found = next((one for one in offered if media_type.endswith("/*") and one.startswith(group)), None)
        if found is not None:
            return found
    return None


def is_browser(request: Request) -> bool:
    """Whether a page is preferred to data: browsers name `text/html` first, programs do not name it at all."""
    return preferred(request, ("application/json", HTML)) == HTML
