"""Mail: the bytes of one mail, with a text and an HTML part of the same content.

Headers are made with the library's older `Header`: the newer policies lose blanks between words that are not ASCII and
read what looks like an encoded word in a title as one.
"""

import hashlib
from collections.abc import Sequence
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime
from typing import Any

import msgspec

from consumers.email.address import header
from consumers.email.html import page
from notifier import Delivery, Message, Rendered
from notifier.one_line import one_line
from notifier.plain_text import is_blank, plain_text
from notifier.record import now

MAX_SUBJECT = 200  # characters; a longer one is cut, and nobody sees more in a list of mails
_POLICY = compat32.clone(linesep="\r\n")
_KEY = "deduplication_key"  # a field of messages


def mail_of(
    delivery: Delivery, rendered: Rendered, sender: tuple[str, str], recipient: str, thread: str | None
) -> bytes:
    """The mail, in ASCII with CRLF; `thread` is what mails of one thread share. Raises ValueError where there is no text.

    A repeat has the same Message-ID, so that a mailbox that knows it can leave it out.
    """
    text = plain_text(rendered.body.plain())
    if is_blank(text):
        raise ValueError("the text is empty")
    mail = MIMEMultipart("alternative", policy=_POLICY)
    mail["Subject"] = _subject(rendered.subject, text)
    mail["From"] = header(*sender)
    mail["To"] = recipient
    mail["Date"] = format_datetime(now())
    domain = sender[1].rpartition("@")[2]
    mail["Message-ID"] = _id("mail", delivery.id, domain)
    if thread is not None:
        # No mail has this id. Mail programs show mails that refer to the same one together all the same.
        root = _id("thread", f"{delivery.consumer}/{thread}", domain)
        mail["In-Reply-To"] = mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notice answers it
    mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    for kind, content in (("plain", f"{text}\n"), ("html", page(rendered.body))):
        mail.attach(MIMEText(content.replace("\n", "\r\n"), kind, "utf-8"))
    return mail.as_bytes()


def thread_of(delivery: Delivery, message: Message, labels: Sequence[str]) -> str | None:
    """What mails of one thread share: the values of `labels`, else the message's `deduplication_key`; None: no thread."""
    values = [message.labels.get(label, "") for label in labels]
    if any(values):
        return "/".join(values)
    fields: dict[str, Any] = msgspec.json.decode(delivery.message, type=dict[str, Any])
    key = fields.get(_KEY)
    return key if isinstance(key, str) and key else None


def _subject(subject: str, text: str) -> str:
    line = one_line(subject, MAX_SUBJECT) or one_line(text.strip().partition("\n")[0], MAX_SUBJECT // 2)
    charset = "us-ascii" if line.isascii() and "=?" not in line else "utf-8"
    return Header(line, charset, header_name="Subject").encode()


def _id(kind: str, what: str, domain: str) -> str:
    return f"<{kind}.{hashlib.sha256(what.encode()).hexdigest()[:40]}@{domain}>"
