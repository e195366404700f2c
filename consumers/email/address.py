"""Address: mailboxes, as parameters and users name them, and as they stand in a mail."""

import re  # for our own constant patterns
from email.header import Header
from email.utils import parseaddr

_MAX = 254  # RFC 5321, 4.5.3.1.3: 256 with the angle brackets
# Without quotation: blanks and control characters in an address serve nobody but who would write commands into a session.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*")


def mailbox(text: str) -> str | None:
    """The address as it goes over the wire, the domain in ASCII (IDNA); None where it is none.

    The part before the @ is ASCII: few servers take another one, and none has to.
    """
    local, _, domain = text.strip().rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    found = f"{local}@{domain}"
    return found if len(found) <= _MAX and _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain) else None


def named_mailbox(text: str) -> tuple[str, str] | None:
    """The name and the address of `Notifier <noreply@example.org>`, the name perhaps empty; None where it is neither."""
    if not text.isprintable():
        return None
    alone = mailbox(text)
    if alone is not None:
        return "", alone
    name, address = parseaddr(text)
    found = mailbox(address)
    return (name, found) if name and found is not None else None


def header(name: str, address: str) -> str:
    """`=?utf-8?…?= <noreply@example.org>`, on lines of at most 78 characters; `name` may be empty."""
    return f"{Header(name, 'utf-8').encode()} <{address}>" if name else address
