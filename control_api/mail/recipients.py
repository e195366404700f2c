"""Recipients: which producer a mail is for, and whether its sender may hand it over.

The address is `<producer>+<token>@anything`, or `<producer>@anything` in a session that has signed in with a token as its
password. Whatever is wrong about it, the answer is the same: it tells nobody which producers or tokens there are.
"""

from control_api.access.actor import Actor
from control_api.access.tokens import authenticate
from control_api.parts import Parts
from notifier.errors import InputError

DOOR = "mail"


class Refused(Exception):
    """The mail is not taken."""


async def sign_in(parts: Parts, token: str) -> Actor:
    """The caller whose token it is, which may push. Raises Refused, and DatabaseError."""
    known = await authenticate(parts.database, parts.tokens, token)
    if known is None or not known.actor.may("push"):
        raise Refused
    return known.actor


async def producer_of(parts: Parts, address: str, signed_in: Actor | None) -> str:
    """The name of the producer at an address. Raises Refused, and DatabaseError."""
    local = address.rpartition("@")[0] or address
    producer, plus, token = local.strip('"').partition("+")
    actor = await sign_in(parts, token) if plus else signed_in
    producer = producer.lower()
    if actor is None or actor.producer not in (None, producer):
        raise Refused
    types = await parts.producer_types.get_many([producer])
    if producer not in types or not _takes_mails(parts, types[producer]):
        raise Refused
    return producer


def _takes_mails(parts: Parts, type_: str) -> bool:
    try:
        return DOOR in getattr(parts.registry.get("producer", type_), "doors", ())
    except InputError:
        return False
