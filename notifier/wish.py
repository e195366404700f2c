"""Wish: what somebody asks of us in a chat of a consumer, on `status`, and what became of it.

    worker   key `link/<digest of the code>` or `wish/<consumer>/<number>`, state `asked`
    API      the same key, state `done` or `refused`, with words for the person, once the user is changed in the database
    worker   a tombstone, once the person has read that

The topic is compacted, so what is asked outlives every process and is done once the API is there.
"""

import hashlib
from typing import Literal

from notifier.bounds import Word
from notifier.record import Record, Time

LINK: Literal["link"] = "link"  # the kind of the records that ask for a user to be reached in a chat
WISH: Literal["wish"] = "wish"  # of those of people who are known there

Wanted = Literal[
    "link",  # that the user for whom a code was made is reached in this chat
    "mute",  # that nothing is sent to them before `until`; with `configuration`, nothing of that
    "unmute",  # the end of every such mute
    "hours",  # that they work in `hours`
]


class Wish(Record, frozen=True, kw_only=True):
    """What one person asks, keyed `<kind>/<name>`."""

    kind: Literal["link", "wish"]
    name: str
    state: Literal["asked", "done", "refused"]
    at: Time
    consumer: Word  # in whose chat it was asked
    world: Word  # of its names
    address: Word  # how the consumer reaches who asks
    wants: Wanted
    called: Word | None = None  # username there
    user: Word | None = None  # username of who asks, where the address is one's already
    configuration: Word | None = None
    until: Time | None = None
    hours: Word | None = None  # as the person wrote them
    silent: bool = False  # who asks was told already
    detail: str | None = (
        None  # what became of it, for the person; while it is asked, what is to be said once it is done
    )

    @property
    def key(self) -> str:
        """The key of its records."""
        return f"{self.kind}/{self.name}"


def code_digest(code: str) -> str:
    """What a code is known by: SHA-256 in hexadecimal. A code has 128 random bits, so it needs neither salt nor stretching."""
    return hashlib.sha256(code.encode(errors="replace")).hexdigest()
