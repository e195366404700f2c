"""Ledger: what is known of the deliveries of one partition: which were accepted, and how far the tries at the others are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from notifier.bounds import FIRST
from streams.delivery.ledger.accepted import Accepted
from streams.delivery.ledger.line import Line, digest

CLOCKS_DIFFER = timedelta(seconds=2)  # at most, between the machines that write deliveries and attempts


@dataclass(slots=True)
class PastTries:
    """The tries at one record."""

    at: datetime  # when the last try ended
    number: int = 0  # of the last try
    spared: int = 0  # tries that did not spend the retry schedule
    not_before: datetime | None = None  # of the next try
    told: bool = False  # the service itself asked for that wait, at its limit
    settled: bool = False  # nothing is left to do


class Ledger:
    """The unfinished tries of one partition of a deliveries topic, and the accepted ids of all. `accept` adds to these.

    A re-sent delivery lies at another offset and perhaps in another partition, and may be of a consumer that was deleted and
    created again. Its id is the same, and so is found.
    """

    def __init__(self, accepted: Accepted) -> None:
        self._accepted = accepted
        self._tries: dict[tuple[int, bytes], PastTries] = {}  # by offset and the delivery's digest

    def __contains__(self, delivery: str) -> bool:
        """Whether a delivery with that id was accepted."""
        return delivery in self._accepted

    def among(self, deliveries: Iterable[str]) -> frozenset[str]:
        """The ids of deliveries that were accepted."""
        return self._accepted.among(deliveries)

    @property
    def knows_tries(self) -> bool:
        """Whether there are tries at any record."""
        return bool(self._tries)

    def accept(self, delivery: str) -> None:
        """Remembers an accepted id."""
        self._accepted.add(delivery)

    def tries(self, delivery: str, offset: int, written_at: datetime) -> PastTries | None:
        """The tries at a record so far; None where there are none.

        A topic that was deleted and created again repeats its offsets: the id and the time tell the records apart.
        """
        past = self._tries.get((offset, digest(delivery))) if self._tries else None
        return None if past is None or past.at < written_at - CLOCKS_DIFFER else past

    def committed(self, offset: int) -> None:
        """Forgets the offsets below a committed one."""
        if self._tries:
            self._tries = {key: past for key, past in self._tries.items() if key[0] >= offset}

    def load(self, lines: Iterable[Line]) -> None:
        """Takes what the file knows of the partition's records, in place of what was known here."""
        self._tries = {(line.offset, line.id): _past(line) for line in lines}


def _past(line: Line) -> PastTries:
    return PastTries(
        at=_time(line.at),
        number=line.number,
        spared=line.spared,
        not_before=None if line.not_before is None else _time(line.not_before),
        told=bool(line.told),
        settled=bool(line.settled),
    )


def _time(seconds: float) -> datetime:
    return FIRST + timedelta(seconds=seconds)
