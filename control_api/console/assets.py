"""Assets: the scripts, styles and pictures of the pages, at addresses that hold their sums: `/assets/<sum>/<path>`.

The content of such an address never changes, so browsers cache it for a year. Third-party assets lie in
`control_api/assets/vendor` as they were published, with their licences; `vendored.json` has their versions and sums.
"""

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from control_api.http.problems import Problem

FOLDER = Path(__file__).parent.parent / "assets"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}  # only these are served

router = APIRouter(include_in_schema=False)


@cache
def _read(path: str) -> tuple[str, bytes]:
    """SHA-256 in hexadecimal, and the content."""
    content = (FOLDER / path).read_bytes()
    return hashlib.sha256(content).hexdigest(), content


@cache
def served() -> frozenset[str]:
    """The paths of all assets."""
    files = (file for file in FOLDER.rglob("*") if file.suffix in MEDIA_TYPES)
    return frozenset(file.relative_to(FOLDER).as_posix() for file in files)


def address(path: str) -> str:
    """The address of an asset, for templates."""
    return f"/assets/{_read(path)[0][:16]}/{path}"


@router.get("/assets/{sum}/{path:path}")
async def get_asset(path: str, request: Request) -> Response:
    """An asset. The address of another version's asset is unknown."""
    if path not in served() or request.url.path != address(path):
        raise Problem(404, "there is no such asset in this version; load the page again")
    digest, content = _read(path)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "public, max-age=31536000, immutable"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=MEDIA_TYPES[Path(path).suffix])
