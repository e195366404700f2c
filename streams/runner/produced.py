"""Produced: the items that a producer gave in a run, read as messages. Pure; sending them is `streams.runner.work`'s.

The ids are deterministic: the same items for the same tick get the same ids, so a run, or a part of it, can be done again.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from notifier.errors import RecordError
from notifier.message import MAX_BYTES, read_message
from notifier.outcome import Reason
from notifier.record_words import finding

_AT_ONCE = 500  # items
_ID_CHARACTERS = 512  # of a name or an id in a Message
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class Produced:
    """One item that a producer gave: a message, or the reason why it is none."""

    position: int  # among the producer's items, from 1
    id: str  # `<configuration>/<scheduled_at>/<producer>/<source id or position>`; of what was followed the source's id
    key: str | None  # of the record on `messages`: the receiver
    value: bytes | None  # the message as JSON; None where it cannot be written as JSON
    reason: Reason = "ok"
    error: str | None = None  # one line, of a run's item with `item <position>: ` in front; None: it is a message


class ItemReader:
    """Reads what one producer gives in a run, in parts as it comes.

    The ids depend on the order of the items alone, and not on how they were parted: done again, they are the same.
    """

    def __init__(self, run: str, producer: str, configuration: str) -> None:
        self._prefix = f"{run}/{producer}/"
        self._names = producer, configuration
        self._taken: set[str] = set()  # own ids
        self._stand_ins: set[str] = set()  # that were given to items without one
        self._count = 0
        self._first_error: str | None = None
        self._wrong = 0

    def read(self, produced: Iterable[object]) -> list[Produced]:
        """The next items; others may come, whose own ids are not known yet."""
        return [self._next(item) for item in produced]

    def read_last(self, produced: Sequence[object]) -> Iterator[list[Produced]]:
        """The last items, some at a time: all of them may take seconds, and the caller has other things to do meanwhile."""
        self._taken |= {own for item in produced if (own := _own_id(item)) is not None}
        for start in range(0, len(produced), _AT_ONCE):
            yield [self._next(item) for item in produced[start : start + _AT_ONCE]]

    def error(self) -> str | None:
        """The errors of all items so far as one line; None if there are none."""
        return _summed_up(self._first_error, self._wrong, self._count)

    def _next(self, item: object) -> Produced:
        own = _own_id(item)
        if own is not None and own in self._stand_ins:  # two things, so not one id
            assert isinstance(item, dict)
            while own in self._stand_ins:
                own += "~"
            item = {**item, "id": own}
        if own is not None:
            self._taken.add(own)
        self._count += 1
        found = _read(item, self._count, self._taken, self._prefix, *self._names)
        name = found.id.removeprefix(self._prefix)
        if name != own:
            self._stand_ins.add(name)
        if found.error is not None:
            self._first_error = self._first_error or found.error
            self._wrong += 1
        return found


def _own_id(item: object) -> str | None:
    own = item.get("id") if isinstance(item, dict) else None
    return own if isinstance(own, str) and own else None


def read_items(produced: Iterable[object], run: str, producer: str, configuration: str) -> list[Produced]:
    """Completes each item with `producer`, `configuration` and `id`, in place of its own.

    `run` is the tick's id. The position stands in for a missing id, followed by `~` where another item has that number as its
    own id: two messages of one id would be one. Unknown fields are kept. An InvalidRecord is what the producer found and could
    not make a message of.
    """
    reader = ItemReader(run, producer, configuration)
    return [item for part in reader.read_last(list(produced)) for item in part]


def read_followed(items: Iterable[object], producer: str) -> list[Produced]:
    """Completes each item that a source gave by itself with `producer`, in place of its own.

    They are for every configuration, and their ids are the source's own.
    """
    return [
        # One that has no id is not recognised when it comes again, and must not stand for another.
        _read(item, 1, set(), "" if _given_id(item) else f"{secrets.token_hex(8)}-", producer, None)
        for item in items
    ]


def _given_id(item: object) -> object:
    return item.id if isinstance(item, RecordError) else item.get("id") if isinstance(item, dict) else None


def _read(
    item: object, position: int, taken: set[str], prefix: str, producer: str, configuration: str | None
) -> Produced:
    own = _given_id(item)
    too_long = isinstance(own, str) and len(prefix) + len(own) > _ID_CHARACTERS
    usable = isinstance(own, str) and own != "" and not too_long and own.encode(errors="replace").decode() == own
    id_ = prefix + (own if isinstance(own, str) and usable else _stand_in(position, taken))
    value: bytes | None = None
    key: str | None = None
    reason: Reason = "invalid"
    error: str | None = None
    try:
        if isinstance(item, RecordError):
            value = item.data
            raise item
        if not isinstance(item, dict):
            value = _encoder.encode(item)
            raise TypeError("must be an object")
        given = own is not None and not usable  # an id that cannot be one stays, to be seen in the dead letter
        completed = {**item, "producer": producer, "configuration": configuration, "id": own if given else id_}
        if configuration is None:
            del completed["configuration"]
            if own is None:
                error = "has no `id`, by which it would be recognised when its source gives it again"
        value = _encoder.encode(completed)
        message, value = read_message(value)
        key = message.receiver
        if too_long:
            error = f"`id` is too long: with {prefix!r} before it, it may have {_ID_CHARACTERS} characters"
        if len(value) > MAX_BYTES:
            reason, error = "too_large", f"is {len(value)} bytes long; a message may have {MAX_BYTES}"
    except RecordError as problem:
        reason, error = problem.reason, plain(str(problem))
    except UnicodeEncodeError:
        error = "is not text that can be written as UTF-8"
    except (TypeError, ValueError, OverflowError, RecursionError) as problem:
        error = str(problem) or "cannot be written as JSON"
    if error is not None:
        words = error if configuration is None else f"item {position}: {error}"
        return Produced(position=position, id=id_, key=key, value=value, reason=reason, error=words)
    return Produced(position=position, id=id_, key=key, value=value)


def _stand_in(position: int, taken: set[str]) -> str:
    name = str(position)
    while name in taken:
        name += "~"
    return name


def sum_up(items: Sequence[Produced]) -> str | None:
    """The errors of all items as one line; None if there are none."""
    wrong = [item.error for item in items if item.error is not None]
    return _summed_up(wrong[0] if wrong else None, len(wrong), len(items))


def _summed_up(first: str | None, wrong: int, count: int) -> str | None:
    if first is None:
        return None
    others = f" ({wrong} of {count} items are wrong)" if wrong > 1 else ""
    went = "; the others went out" if wrong < count else ""
    return f"{first}{others}; see the dead letters{went}"


def plain(error: str) -> str:
    """msgspec's validation error in the words of a message's author: "`content` is required"."""
    place, words = finding(error)
    if not place:
        return words
    name = f"`{'.'.join(place)}`"
    if words.startswith("a value "):
        return f"a value of {name} {words.removeprefix('a value ')}"
    return f"{name} {words}" if words.startswith(("must ", "is ")) else f"{name} does not fit: {words}"
