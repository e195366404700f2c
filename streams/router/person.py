"""Person: what the router keeps of a user, once for all producers and consumers; or of a name that is nobody's, or a group's.

A message touches one or two of them, whoever sent it, so what is needed most often lies side by side here: the routes that name
the receiver, the parts of a delivery and of an attempt. Who makes persons is `streams.router.matcher`; who fills in the parts
for consumers, `streams.router.exits`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from notifier.outcome import Reason
from notifier.user import User
from streams.router.route import Route

MAX_MASKS = 10_000  # whose places are kept

_json = msgspec.json.encode


class Person(msgspec.Struct, gc=False, eq=False):  # there may be many, and none is in a circle
    """A user, or nobody."""

    user: User | None  # none: nobody, or a group
    username: str = ""
    problem: tuple[Reason, str] | None = None  # why it is nobody, also in words
    asks: bool = True  # whether the matcher has to be asked about each message: there are no masks
    routes: tuple[Route, ...] | None = None  # those whose filters name and accept the receiver, by name; not known yet
    refusing: tuple[Route, ...] = ()  # those that take any receiver but this one; known where `routes` is
    masks: Sequence[int] = b""  # by the number of a producer: which of the routes take its messages, as bits
    recipient: bytes = b""  # the part of an attempt that names the user
    # What `streams.router.exits` found last: a `Contact` with the `Addresses` it is of, and a sender's part with its `Names`.
    contact: Any = None
    addresses: Any = None
    said: bytes = b""
    names: Any = None


class Members(Person, gc=False, eq=False):
    """A group of users. What else a person has is unknown, but for the username: that of the first member."""

    users: tuple[User, ...] = ()


class Places(dict[int, tuple[int, ...]]):
    """The places of a mask's bits, ascending."""

    def __missing__(self, mask: int) -> tuple[int, ...]:
        found = tuple([place for place in range(mask.bit_length()) if mask >> place & 1])
        if len(self) < MAX_MASKS:
            self[mask] = found
        return found


places = Places()


def masks_of(routes: Sequence[Route], producers: int) -> Sequence[int]:
    """The masks of some routes. A receiver with few of them has one line of the processor's cache for all producers."""
    found = [0] * producers
    for place, route in enumerate(routes):
        for number in route.numbers:
            found[number] |= 1 << place
    return bytes(found) if len(routes) <= 8 else tuple(found)


def new_person(user: User) -> Person:
    """A user whose routes are not known yet."""
    return Person(user, user.username, recipient=b',"recipient":' + _json(user.username))


def nobody(reason: Reason, text: str) -> Person:
    """A name that is nobody's, or more than one user's."""
    return Person(None, problem=(reason, text))
