"""Media types: what a body says that it is, by `Content-Type`."""

from dataclasses import dataclass
from functools import lru_cache

from fastapi import Request

from control_api.http.headers import header

JSON = "application/json"
NDJSON = "application/x-ndjson"
MERGE_PATCH = "application/merge-patch+json"
ANY_JSON = "application/…+json"  # any of JSON's names
ANY = "any media type"  # for addresses whose senders nobody can tell what to send

_NDJSON_TOO = ("application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines")
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})  # ASCII is UTF-8
_KEPT_CHARACTERS = 100  # of a header whose meaning is kept
# What bytes that are no UTF-8 are read as, where their sender says so and cannot be told otherwise.
_OTHERS = {
    "iso-8859-1": "cp1252",  # as browsers take it
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "windows-1252": "cp1252",
    "windows-1251": "cp1251",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}


@dataclass(frozen=True)
class MediaType:
    """A `Content-Type`: its name and charset in small letters. Names of NDJSON are all `NDJSON`."""

    name: str
    charset: str
    header: str  # as it came

    @property
    def is_utf8(self) -> bool:
        """Whether the charset is UTF-8, or a part of it."""
        return self.charset in _UTF_8

    def utf8(self, body: bytes) -> bytes:
        """The body as UTF-8, whatever its charset; as it is where that is not known, or not true."""
        if self.charset not in _OTHERS:
            return body
        try:
            if not self.charset.startswith("utf-16"):
                body.decode()  # valid UTF-8 is read as UTF-8, whatever charset the sender names
                return body
            return body.decode(_OTHERS[self.charset]).encode()
        except UnicodeDecodeError:
            return body.decode(_OTHERS[self.charset], errors="replace").encode()


def is_json(name: str) -> bool:
    """Whether it is a name of JSON (RFC 6839: every one that ends in `+json`)."""
    return name in (JSON, "text/json") or name.endswith("+json")


def media_type_of(request: Request) -> MediaType:
    """The media type of a request's body; without a name where the header is missing."""
    given = header(request.scope, b"content-type") or ""
    return _read(given) if len(given) <= _KEPT_CHARACTERS else _read.__wrapped__(given)


@lru_cache(256)
def _read(given: str) -> MediaType:
    name, _, rest = given.partition(";")
    parameters = [part.partition("=") for part in rest.split(";")]
    charset = next((value for key, _, value in parameters if key.strip().lower() == "charset"), "utf-8")
    name = name.strip().lower()
    return MediaType(NDJSON if name in _NDJSON_TOO else name, charset.strip("\"' ").lower(), given)
