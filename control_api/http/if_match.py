"""`If-Match`: a change that is made only to the version that the caller has read."""

import re  # for our own constant patterns

from fastapi import Request

from control_api.definitions.services import Services
from control_api.http.problems import Problem
from notifier.errors import StaleVersion
from notifier.outcome import Kind

_TAGS = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"(?:\s*,\s*(?:W/)?"[\x21\x23-\x7e]*")*')
_REVISIONS = re.compile(r'(?:^|,)\s*"([0-9]{1,18})"')

PARAMETER = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag that was read last; when the definition was changed since, the answer is 412.",
}


async def expected_revision(request: Request, services: Services, kind: Kind, name: str) -> int | None:
    """The revision that `If-Match` asks for; None: any. Raises Problem 400 and 412, UnknownName and StaleVersion."""
    header = ", ".join(request.headers.getlist("if-match")).strip()
    if header in ("", "*"):
        return None
    if not _TAGS.fullmatch(header):
        raise Problem(400, f"If-Match must be the ETag as it was answered, with its quotes; got {header[:100]!r}")
    revisions = [int(found) for found in _REVISIONS.findall(header)]  # weak tags match nothing here (RFC 9110, 13.1.1)
    if len(revisions) == 1:
        return revisions[0]
    stored = await services.get(kind, name)
    if stored.revision in revisions:
        return stored.revision
    if revisions:
        raise StaleVersion(kind, name, max(revisions), stored.revision)
    raise Problem(412, f"If-Match names no version of the {kind} {name!r}; its ETag is {stored.etag}")
