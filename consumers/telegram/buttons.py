"""Buttons: what stands under a text, and what a press of it names.

    <letter of the button>.<digest>.<ticket>        at most 64 bytes, as Telegram takes them

The ticket leads to the delivery (`Context.ticket`). A person's own client may send any text in place of it. The digest, an
HMAC keyed with the bot's token, proves that this button was sent under this delivery.
"""

import hashlib
import hmac
import re  # for our own constant patterns
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from notifier import Delivery
from notifier.answer import Button
from notifier.errors import RecordError

TITLES: dict[Button, str] = {
    "acknowledge": "Acknowledge",
    "mute_hour": "Mute for 1 h",
    "mute_day": "Mute until tomorrow",
    "link": "Open",
}
_LETTERS: dict[str, Button] = {"a": "acknowledge", "h": "mute_hour", "d": "mute_day"}
_PRESS = re.compile(r"([ahd])\.([0-9a-f]{16})\.([0-9a-z.]{1,32})")
_ROW = 2  # buttons in one row
_MAX_URL = 2048
# Telegram refuses a text whose button has an address that it takes for none, so only plain ones are offered.
_HOST = re.compile(
    r"(?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{1,62}|(?:[0-9]{1,3}\.){3}[0-9]{1,3}", re.ASCII | re.IGNORECASE
)


class Key(NamedTuple):
    """One button as Telegram shows it: with `data` that a press sends, or the address that it opens."""

    title: str
    data: str | None = None
    url: str | None = None


class Press(NamedTuple):
    """What a press names."""

    button: Button
    digest: str
    ticket: str

    def is_of(self, delivery: Delivery, token: str) -> bool:
        """Whether we gave out this button for this delivery."""
        return hmac.compare_digest(self.digest, _digest(self.button, self.ticket, delivery, token))


def keyboard(buttons: Sequence[Button], delivery: Delivery, ticket: str | None, token: str) -> list[list[Key]]:
    """The rows of buttons under a delivery's text; without a ticket, and for a message without address, some are left out."""
    keys = []
    for button in buttons:
        if button == "link":
            url = _url_of(delivery)
            keys += [] if url is None else [Key(TITLES[button], url=url)]
        elif ticket is not None:
            letter = next(letter for letter, named in _LETTERS.items() if named == button)
            keys.append(Key(TITLES[button], data=f"{letter}.{_digest(button, ticket, delivery, token)}.{ticket}"))
    return [keys[start : start + _ROW] for start in range(0, len(keys), _ROW)]


def without_links(rows: Sequence[Sequence[Key]]) -> list[list[Key]]:
    """The same without what opens an address."""
    left = [[key for key in row if key.url is None] for row in rows]
    return [row for row in left if row]


def press_of(data: object) -> Press | None:
    """What the data of a press names; None where it is none of ours."""
    found = _PRESS.fullmatch(data) if isinstance(data, str) else None
    return None if found is None else Press(_LETTERS[found[1]], found[2], found[3])


def _digest(button: Button, ticket: str, delivery: Delivery, token: str) -> str:
    said = f"{button} {ticket} {delivery.id}".encode(errors="replace")
    return hmac.new(token.encode(), said, hashlib.sha256).hexdigest()[:16]


def _url_of(delivery: Delivery) -> str | None:
    try:
        url = delivery.read_message().url
        parts = urlsplit(url or "")
        good = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except (RecordError, ValueError):
        return None
    return url if url and good and len(url) <= _MAX_URL and url.isprintable() and " " not in url else None
