"""Accepted: the ids that services accepted, in the file and, until they are written there, in memory."""

import sqlite3
from collections.abc import Callable, Iterable

from streams.delivery.ledger.file import LedgerFile
from streams.delivery.ledger.line import digest


class Accepted:
    """The accepted ids that one worker knows of. A look-up takes some microseconds, so it is made in the event loop."""

    def __init__(self) -> None:
        self._unwritten: set[bytes] = set()
        self._file: LedgerFile | None = None  # before any lane opens there is one
        self._failed: Callable[[sqlite3.Error], Exception] = lambda error: error

    def __contains__(self, delivery: str) -> bool:
        """Whether a delivery with that id was accepted. Raises NotifierError where the file cannot be read."""
        id_ = digest(delivery)
        if id_ in self._unwritten or self._file is None:
            return id_ in self._unwritten
        try:
            return self._file.contains(id_)
        except sqlite3.Error as error:  # to send it nevertheless might be to send it twice
            raise self._failed(error) from None

    def among(self, deliveries: Iterable[str]) -> frozenset[str]:
        """The ids of deliveries that were accepted. Raises as a look-up does."""
        left = {digest(delivery): delivery for delivery in deliveries}
        found = left.keys() & self._unwritten
        if self._file is not None:
            try:
                found |= self._file.among([id_ for id_ in left if id_ not in found])
            except sqlite3.Error as error:
                raise self._failed(error) from None
        return frozenset([left[id_] for id_ in found])

    def add(self, delivery: str) -> None:
        """Remembers an accepted id."""
        self._unwritten.add(digest(delivery))

    def keep_in(self, file: LedgerFile, failed: Callable[[sqlite3.Error], Exception]) -> None:
        """Has the ids looked up in a file from now on. `failed` makes an error of it the one to raise."""
        self._file, self._failed = file, failed

    def unwritten(self) -> set[bytes]:
        """The ids that are only in memory."""
        return set(self._unwritten)

    def written(self, ids: Iterable[bytes]) -> None:
        """Lets go of ids that are in the file."""
        self._unwritten.difference_update(ids)
