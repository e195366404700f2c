"""Folder: `<data folder>/ledger`, with a numbered file for each worker that runs at the same time on this machine."""

import fcntl
import logging
import sqlite3
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from notifier.errors import NotifierError
from notifier.settings import Settings, variable
from streams.delivery.ledger.file import KEPT, LedgerFile

logger = logging.getLogger(__name__)

_MOST = 1000  # workers of one data folder


class ClaimedFile:
    """The file with the lowest number that no other process has claimed, claimed until `close`.

    One that is damaged is moved aside, and an empty one takes its place. Raises NotifierError where there can be none.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float], kept: int = KEPT) -> None:
        self.notice: str | None = None  # that it was damaged, for people
        self._aside: str | None = None  # the same, where that turned out later
        self._clock, self._kept = clock, kept
        folder = settings.data_dir / "ledger"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number, self._lock = _claim(folder)
            self.file = self._open(folder / f"{number}.sqlite3")
        except (OSError, sqlite3.Error) as error:
            raise NotifierError(
                f"no ledger can be kept in {folder}: {error}; name a folder of a local disk in {variable('data_dir')}"
            ) from None

    def close(self) -> None:
        """Closes the file and lets another process have it."""
        self.file.close()
        self._lock.close()

    def set_aside(self, error: Exception) -> str:
        """Moves the file aside, which is damaged and stays open; says so."""
        self._aside = self._aside or _set_aside(self.file.path, error)
        return self._aside

    def _open(self, path: Path) -> LedgerFile:
        try:
            return LedgerFile(path, self._clock, kept=self._kept)
        except (sqlite3.Error, TypeError) as error:
            if isinstance(error, sqlite3.OperationalError):  # the disk, not what is on it
                raise
            self.notice = _set_aside(path, error)
            return LedgerFile(path, self._clock, kept=self._kept)


def _claim(folder: Path) -> tuple[int, TextIOWrapper]:
    for number in range(_MOST):
        lock = (folder / f"{number}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return number, lock
    raise OSError(f"{_MOST} processes have a file there already")


def _set_aside(path: Path, error: Exception) -> str:
    aside = path.with_suffix(".damaged")
    path.replace(aside)  # the one before it goes, so that a disk that fails does not fill with them
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    notice = f"The ledger {path} was damaged ({error}): it was moved to {aside}, and is read again from the attempts."
    logger.error("%s", notice, extra={"action": "read_ledger"})
    return notice
