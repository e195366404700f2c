"""Origin: protection against cross-site request forgery. A request with a cookie alone must come from a page of ours.

Browsers name a request's origin in two headers that no page can forge. `Sec-Fetch-Site` comes first: it is right also behind
a proxy that changes `Host`. It is sent over https and on loopback only; elsewhere `Origin` is compared with `Host`.
"""

from urllib.parse import urlsplit

from fastapi import Request

from control_api.http.problems import Problem

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing
# A form of another site can send these without a preflight request.
_OF_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "")


def check_origin(request: Request) -> None:
    """Raises Problem 403 unless a page of ours made the request."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    if not ours:
        raise Problem(
            403,
            "signed in by a cookie, only pages of this address may change something;"
            " a program sends a token: Authorization: Bearer ntf_…",
        )


def check_cookie_request(request: Request) -> None:
    """Raises Problem 403 or 415 for an unsafe request that a page of another site could have made in someone's name."""
    if request.method in SAFE:
        return
    check_origin(request)
    empty = "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0"
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not empty and media_type in _OF_FORMS:
        raise Problem(415, "signed in by a cookie, a body must be JSON: Content-Type: application/json")


def is_https(request: Request) -> bool:
    """Whether the browser speaks https, to us or to a proxy before us; `Origin` has the browser's own scheme."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
