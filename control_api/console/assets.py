"""Assets: the scripts, styles and pictures of the pages, at addresses that hold their sums: `/assets/<sum>/<path>`.

What is at such an address never changes, so browsers keep it for a year. What others wrote lies in `control_api/assets/vendor`
as they published it, with their licences; `vendored.json` there says which versions, and the sum of each file.
"""

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from control_api.http.problems import Problem

FOLDER = Path(__file__).parent.parent / "assets"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}  # what is served; nothing else is

router = APIRouter(include_in_schema=False)


@cache
def _read(path: str) -> tuple[str, bytes]:
    """The sum and the content."""
    content = (FOLDER / path).read_bytes()
    return hashlib.sha256(content).hexdigest(), content


@cache
def served() -> frozenset[str]:
    """The paths of all assets."""
    files = (file for file in FOLDER.rglob("*") if file.suffix in MEDIA_TYPES)
    return frozenset(file.relative_to(FOLDER).as_posix() for file in files)


def address(path: str) -> str:
    """Where a page finds the asset; for templates."""
    return f"/assets/{_read(path)[0][:16]}/{path}"


@router.get("/assets/{sum}/{path:path}")
async def get_asset(path: str, request: Request) -> Response:
    """An asset. One of an older or newer version is not here."""
    if path not in served() or request.url.path != address(path):
        raise Problem(404, "there is no such asset in this version; load the page again")
    digest, content = _read(path)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "public, max-age=31536000, immutable"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=MEDIA_TYPES[Path(path).suffix])
