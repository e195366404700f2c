"""Reader: the language and the zone of those whom a delivery is for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from notifier.delivery import Delivery
from notifier.language import USUAL_LANGUAGE, Language
from notifier.user import User


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """For whom a text is made."""

    language: Language = USUAL_LANGUAGE
    timezone: str | None = None  # IANA name; none: nobody says, and times stay as they are


ANYONE = Reader()
_T = TypeVar("_T")


def reader_of(delivery: Delivery, users: Mapping[str, User]) -> Reader:
    """The recipient, or what all recipients have in common: where two differ, it is as if nobody had said."""
    names = (delivery.recipient,) if delivery.recipient is not None else delivery.recipients or ()
    readers = {_reader(user) for name in names if (user := users.get(name)) is not None}
    return Reader(
        language=_common(reader.language for reader in readers) or USUAL_LANGUAGE,
        timezone=_common(reader.timezone for reader in readers),
    )


def _reader(user: User) -> Reader:
    return Reader(language=user.language, timezone=user.working_time.timezone if user.working_time else None)


def _common(values: Iterable[_T]) -> _T | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None
