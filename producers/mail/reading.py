"""Reading: what a mail says, by the standard library, whatever is odd about it. Pure; call it in a thread."""

import binascii
import codecs
import re  # for our own constant patterns
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32
from email.utils import parseaddr, parsedate_to_datetime

from notifier.bounds import in_range
from notifier.outcome import Severity
from notifier.plain_text import plain_text
from producers.mail.html_text import html_text

MAX_TEXT = 100_000  # characters of a text; what is read of one in HTML is at most five times as long
CUT = "\n… (cut: the mail is longer)"
_MAX_HEADER = 2_000  # characters of a header that is read
_MAX_PARTS = 200
_MAX_NAMED = 50  # attachments
# A mail with more is not taken apart: for each line the parser looks at every boundary.
_MAX_BOUNDARIES = 50
_MAX_LINES = 300_000
_MAX_HEAD = 200_000  # bytes of all headers
_SEVERITIES: dict[str, Severity] = {"1": "critical", "2": "error", "3": "info", "4": "debug", "5": "debug"}
_IMPORTANCE: dict[str, Severity] = {"high": "error", "urgent": "error", "low": "debug", "non-urgent": "debug"}
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"})
_BLANKS = re.compile(r"\s+")


class _Policy(Compat32):
    """The library's own, with bounded headers: the time that it takes for parameters grows with the square of their length."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """Called by the parser for each header, in its lines."""
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_MAX_HEADER]


_POLICY = _Policy()


@dataclass(frozen=True, kw_only=True)
class Mail:
    """What is told of a mail."""

    title: str | None
    text: str  # with its attachments named below
    sender: str | None  # the address in `From`, else what stands there
    called: str | None  # the name beside it
    id: str | None  # `Message-ID` without its brackets
    severity: Severity | None
    at: datetime | None


def read_mail(data: bytes) -> Mail:
    """Reads a mail. What cannot be taken apart is shown as it came; raises nothing for what is in it."""
    mail = message_from_bytes(b"") if _is_too_much(data) else _parsed(data)
    if mail is None or not mail.keys():
        head, _, rest = data.replace(b"\r\n", b"\n").partition(b"\n\n")
        mail = _head_of(head)
        text = _cut(_decoded((rest if mail.keys() else data)[: MAX_TEXT * 8], None))
    else:
        text = _text_of(mail)
    charset = mail.get_content_charset()
    name, address = _from(_header(mail, "From", charset))
    return Mail(
        title=_header(mail, "Subject", charset),
        text=text,
        sender=address,
        called=name,
        id=_id_of(_header(mail, "Message-ID", None)),
        severity=_severity(mail),
        at=_date(_header(mail, "Date", None)),
    )


def _is_too_much(data: bytes) -> bool:
    head = data[:_MAX_HEAD].replace(b"\r\n", b"\n")
    if len(data) > _MAX_HEAD and b"\n\n" not in head:
        return True
    return data.lower().count(b"boundary") > _MAX_BOUNDARIES or data.count(b"\n") > _MAX_LINES


def _parsed(data: bytes) -> Message | None:
    try:
        return message_from_bytes(data, policy=_POLICY)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # what the library does not foresee
        return None


def _head_of(head: bytes) -> Message:
    try:
        return BytesHeaderParser(policy=_POLICY).parsebytes(head[:_MAX_HEAD])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Message()


# --- headers ---


def _header(mail: Message, name: str, charset: str | None) -> str | None:
    """A header as one line of text; None where there is none. Bytes in it are of UTF-8, else of the charset of the body."""
    raw = next((value for given, value in mail.raw_items() if given.lower() == name.lower()), None)
    if raw is None:
        return None
    given = str(raw)[:_MAX_HEADER].encode("utf-8", "surrogateescape")
    text = _decoded(given, charset)
    if "=?" in text:
        text = _words(text)
    return _BLANKS.sub(" ", plain_text(text)).strip() or None


def _words(text: str) -> str:
    """A header with its encoded words decoded; as it is where they are none."""
    try:
        found = decode_header(text)
    except (ValueError, binascii.Error, LookupError):
        return text
    return "".join(part if isinstance(part, str) else _decoded(part, charset) for part, charset in found)


def _from(text: str | None) -> tuple[str | None, str | None]:
    """The name and the address, as far as there are any."""
    if text is None:
        return None, None
    try:
        name, address = parseaddr(text)
    except (ValueError, IndexError, RecursionError):
        return None, text
    return name or None, address or text


def _id_of(text: str | None) -> str | None:
    return None if text is None else text.strip("<> ") or None


def _date(text: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(text or "")
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if in_range(at) else None


def _severity(mail: Message) -> Severity | None:
    for name in ("X-Priority", "X-MSMail-Priority", "Importance", "Priority"):
        text = (_header(mail, name, None) or "").lower()
        found = _SEVERITIES.get(text[:1]) if text[:1].isdigit() else _IMPORTANCE.get(text)
        if found is not None:
            return found
    return None


# --- body ---


def _text_of(mail: Message) -> str:
    plain: str | None = None
    from_html: str | None = None
    attached: list[str] = []
    for part in _parts(mail):
        kind = part.get_content_type()
        name = _name_of(part)
        if name is not None or not kind.startswith("text/"):
            attached.append(f"{name or kind} ({_size(part)})")
        elif kind == "text/html":
            from_html = (
                html_text(_decoded(_body(part)[: MAX_TEXT * 5], part.get_content_charset()))
                if from_html is None
                else from_html
            )
        elif plain is None or not plain.strip():
            plain = _decoded(_body(part), part.get_content_charset())
    text = plain if plain is not None and plain.strip() else from_html
    text = _cut(text or "")
    if not attached:
        return text
    more = f", and {len(attached) - _MAX_NAMED} more" if len(attached) > _MAX_NAMED else ""
    named = f"Attachments, which are not kept: {', '.join(attached[:_MAX_NAMED])}{more}"
    return f"{text}\n\n{named}" if text else named


def _cut(text: str) -> str:
    shown = plain_text(text[: MAX_TEXT * 2]).strip()
    return shown[:MAX_TEXT] + CUT if len(shown) > MAX_TEXT or len(text) > MAX_TEXT * 2 else shown


def _parts(mail: Message) -> Iterator[Message]:
    """The parts that hold something, those within a mail that is attached left out."""
    waiting, seen = [mail], 0
    while waiting and seen < _MAX_PARTS:
        part = waiting.pop(0)
        seen += 1
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            waiting[:0] = [one for one in inner if isinstance(one, Message)]
        else:
            yield part


def _name_of(part: Message) -> str | None:
    """The name of an attachment; None for what is to be read."""
    try:
        name = part.get_filename()
    except (ValueError, LookupError, TypeError):  # of RFC 2231, badly encoded
        name = "unnamed"
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        if isinstance(inner, list) and inner and isinstance(inner[0], Message):
            name = name or _header(inner[0], "Subject", None)
        return _shown(name or "a mail")
    if name is None and part.get_content_disposition() == "attachment":
        name = part.get_content_type()
    return None if name is None else _shown(name)


def _shown(name: str) -> str:
    given = name[:_MAX_HEADER].encode("utf-8", "surrogateescape")
    text = _decoded(given, None)
    text = _words(text) if "=?" in text else text
    return _BLANKS.sub(" ", plain_text(text)).strip()[:200] or "unnamed"


def _size(part: Message) -> str:
    size = len(_body(part))
    return f"{size} bytes" if size < 1024 else f"{size // 1024} KiB"


def _body(part: Message) -> bytes:
    try:
        body = part.get_payload(decode=True)
    except (ValueError, binascii.Error, LookupError, AssertionError):
        body = None
    return body if isinstance(body, bytes) else b""


def _decoded(data: bytes, charset: str | None) -> str:
    """The text of some bytes, by their charset where it is one, else as UTF-8, else as Latin-1; never a lone surrogate."""
    for name in (charset, "utf-8"):
        try:
            codec = None if name is None else codecs.lookup(name)
            if name is None or codec is None or codec.name in _NO_CHARSETS:
                continue
            given = data.decode(name, "strict" if name == "utf-8" and charset != name else "replace")
        except (LookupError, ValueError):
            continue
        return given.encode("utf-8", "replace").decode()
    return data.decode("cp1252", "replace")
