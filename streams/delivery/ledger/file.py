"""File: the accepted ids, the tries at uncommitted records, and how much of `attempts` is in here, in one SQLite file.

An id is 16 bytes in one of two tables. The younger one takes what comes; once it is a day old and holds a million, the older
one is emptied and takes its place. So an id stays for a day and a million others at least, twice that at most, a look-up asks
two trees, and no row needs a time.

Measured against it, in CPU time for 1,000,000 ids (`python -m bench ledger` measures what was chosen): LMDB looks up and writes
in half the time, but maps its file: one that was cut short ends the process by SIGBUS, at every start anew, where SQLite raises.
RocksDB (`rocksdict`) was no faster than SQLite. A table for each few hours, dropped whole, costs a look-up in each. With the
tries left on the topic only, whoever takes over a partition reads all attempts since its first uncommitted record, which may
be hours old where a consumer is paused.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from streams.delivery.ledger.line import Line

KEPT_S = 24 * 3600.0
KEPT = 1_000_000  # accepted ids
_TRIES_KEPT_S = 8 * 24 * 3600.0  # a day longer than the records that they are about
_FORMAT = 1
_CACHE_KIB = 16 * 1024  # of each of two connections
_SCHEMA = """
CREATE TABLE state (cluster TEXT, filled INTEGER, young INTEGER, began REAL, count_0 INTEGER, count_1 INTEGER);
INSERT INTO state VALUES ('', 0, 0, 0, 0, 0);
CREATE TABLE places (
    partition INTEGER PRIMARY KEY, low INTEGER, high INTEGER, since_ms INTEGER, mark_offset INTEGER, mark BLOB
);
CREATE TABLE ids_0 (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE ids_1 (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE tries (
    topic TEXT, partition INTEGER, offset INTEGER, id BLOB, at REAL, number INTEGER, spared INTEGER, not_before REAL,
    told INTEGER, settled INTEGER, seen REAL, PRIMARY KEY (topic, partition, offset, id)
) WITHOUT ROWID;
"""
_TOGETHER = 100  # ids of one look-up
_MARKS = ", ".join(["?"] * _TOGETHER)
_LOOK_UP = "SELECT 1 FROM ids_0 WHERE id = ?1 UNION ALL SELECT 1 FROM ids_1 WHERE id = ?1"
_LOOK_UP_ALL = f"SELECT id FROM ids_0 WHERE id IN ({_MARKS}) UNION ALL SELECT id FROM ids_1 WHERE id IN ({_MARKS})"  # noqa: S608 - marks
# The attempts of a delivery come in order, but those of a day ago after those of today where the file is filled backwards.
_ADD_TRY = """
INSERT INTO tries (id, topic, partition, offset, at, number, spared, not_before, told, settled, seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    at = max(at, excluded.at),
    number = max(number, excluded.number),
    spared = spared + excluded.spared,
    not_before = CASE WHEN excluded.number >= number THEN excluded.not_before ELSE not_before END,
    told = CASE WHEN excluded.number >= number THEN excluded.told ELSE told END,
    settled = max(settled, excluded.settled)
"""


class Place(NamedTuple):
    """Which records of one partition of `attempts` are in the file: those at offsets from `low` to below `high`."""

    low: int
    high: int
    since_ms: int  # no record that is newer is missing below `low`, in milliseconds since 1970; 0: none at all
    mark_offset: int | None = None  # of a record that was read, and
    mark: bytes | None = None  # what tells it from another at that offset, of a topic created anew


@dataclass(slots=True)
class _State:
    cluster: str  # id of the Kafka cluster; empty: none yet
    filled: int  # 1: it holds as much of the past as it is to
    young: int  # 0 or 1: the table that takes new ids
    began: float  # when that was empty, in seconds since 1970
    count_0: int
    count_1: int


class LedgerFile:
    """An open file. Everything but `contains` and `among` is for one thread at a time; it all raises sqlite3.Error."""

    def __init__(self, path: Path, clock: Callable[[], float], *, kept: int = KEPT) -> None:
        self.path = path
        self.kept = kept
        self._clock = clock
        self._writer = _connect(path)
        try:
            self._prepare()
            self._reader = _connect(path)
        except BaseException:
            self._writer.close()
            raise
        self._look_up = self._reader.execute

    def _prepare(self) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")
        elif version != _FORMAT:
            raise sqlite3.DatabaseError(f"it is of format {version}, and this program knows {_FORMAT}")
        self._read_state()

    def _read_state(self) -> None:
        self._state = _State(*self._writer.execute("SELECT * FROM state").fetchone())
        rows = self._writer.execute("SELECT partition, low, high, since_ms, mark_offset, mark FROM places")
        self.places = {partition: Place(*rest) for partition, *rest in rows}

    def close(self) -> None:
        """Closes it. What was not committed is not in it."""
        self._reader.close()
        self._writer.close()

    # --- reading ---

    @property
    def cluster(self) -> str:
        """Id of the Kafka cluster that it is about; empty where it is about none yet."""
        return self._state.cluster

    @property
    def filled(self) -> bool:
        """Whether it holds as much of the past as it is to."""
        return bool(self._state.filled)

    @property
    def count(self) -> int:
        """How many ids it holds, some of them perhaps twice."""
        return self._state.count_0 + self._state.count_1

    def hold(self) -> None:
        """Has look-ups read what is committed now, all in one transaction; each in its own takes half as long again."""
        if not self._reader.in_transaction:
            self._reader.execute("BEGIN")

    def release(self) -> None:
        """Ends that; a write that found it held could not begin the log anew, which would grow without end."""
        if self._reader.in_transaction:
            self._reader.execute("COMMIT")

    def contains(self, id_: bytes) -> bool:
        """Whether an id is in it, as of the last commit, or as of `hold`."""
        return self._look_up(_LOOK_UP, (id_,)).fetchone() is not None

    def among(self, ids: Sequence[bytes]) -> set[bytes]:
        """Those of the ids that are in it, likewise; for many of them a fifth of the cost."""
        found: set[bytes] = set()
        for start in range(0, len(ids), _TOGETHER):
            some = [*ids[start : start + _TOGETHER]]
            some += [b""] * (_TOGETHER - len(some))  # no id; so that one statement serves all
            found.update([id_ for (id_,) in self._look_up(_LOOK_UP_ALL, some + some)])
        return found

    def tries(self, topic: str, partition: int, offset: int) -> list[Line]:
        """The tries at the records of a partition, from an offset on."""
        rows = self._writer.execute(
            "SELECT id, 0, topic, partition, offset, at, number, spared, not_before, told, settled"
            " FROM tries WHERE topic = ? AND partition = ? AND offset >= ?",
            (topic, partition, offset),
        )
        return [Line(*row) for row in rows]

    # --- writing ---

    def begin(self) -> None:
        """Begins a transaction."""
        self._writer.execute("BEGIN IMMEDIATE")

    def add(self, ids: Iterable[bytes], lines: Iterable[Line]) -> None:
        """Adds accepted ids, and tries."""
        young, before = self._state.young, self._writer.total_changes
        self._writer.executemany(f"INSERT OR IGNORE INTO ids_{young} VALUES (?)", [(id_,) for id_ in sorted(ids)])  # noqa: S608 - ours
        added = self._writer.total_changes - before
        if young:
            self._state.count_1 += added
        else:
            self._state.count_0 += added
        seen = self._clock()
        self._writer.executemany(_ADD_TRY, [_row(line, seen) for line in lines])

    def move(self, places: Mapping[int, Place]) -> None:
        """Says which records are in it now."""
        self._writer.executemany(
            "INSERT OR REPLACE INTO places (partition, low, high, since_ms, mark_offset, mark) VALUES (?, ?, ?, ?, ?, ?)",
            [(partition, *place) for partition, place in places.items()],
        )
        self.places.update(places)

    def fill(self) -> None:
        """Says that it holds as much of the past as it is to."""
        self._state.filled = 1
        self._state.began = self._clock()

    def commit(self) -> None:
        """Ends the transaction; from now on what was added is found."""
        state, moment = self._state, self._clock()
        state.began = min(state.began, moment)  # a clock that was wrong must not keep ids for ever
        if state.filled and moment - state.began >= KEPT_S and (state.count_0, state.count_1)[state.young] >= self.kept:
            self._turn_over(moment)
        self._writer.execute(
            "UPDATE state SET cluster = ?, filled = ?, young = ?, began = ?, count_0 = ?, count_1 = ?",
            (state.cluster, state.filled, state.young, state.began, state.count_0, state.count_1),
        )
        self._writer.execute("COMMIT")

    def _turn_over(self, moment: float) -> None:
        state = self._state
        state.young, state.began = 1 - state.young, moment
        self._writer.execute(f"DELETE FROM ids_{state.young}")  # noqa: S608 - all at once, without a look at the rows
        if state.young:
            state.count_1 = 0
        else:
            state.count_0 = 0

    def roll_back(self) -> None:
        """Undoes what was not committed."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        self._read_state()

    def write(self, ids: Iterable[bytes], lines: Iterable[Line], places: Mapping[int, Place]) -> None:
        """All of a transaction."""
        self.begin()
        self.add(ids, lines)
        self.move(places)
        self.commit()

    # --- forgetting ---

    def forget_tries(self, committed: Mapping[tuple[str, int], int]) -> None:
        """Forgets the tries below committed offsets, and those at records that no topic can hold any more."""
        self.begin()
        self._writer.executemany(
            "DELETE FROM tries WHERE topic = ? AND partition = ? AND offset < ?",
            [(*place, offset) for place, offset in committed.items()],
        )
        self._writer.execute("DELETE FROM tries WHERE seen < ?", (self._clock() - _TRIES_KEPT_S,))
        self.commit()

    def forget_places(self) -> None:
        """Has the topic read again. Ids and tries stay: what was accepted was accepted."""
        self.begin()
        self._writer.execute("DELETE FROM places")
        self.places = {}
        self._state.filled = 0
        self.commit()

    def begin_with(self, cluster: str) -> None:
        """Forgets everything: from now on it is about the Kafka cluster of this id."""
        self.begin()
        for table in ("ids_0", "ids_1", "tries", "places"):
            self._writer.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        self.places = {}
        self._state = _State(cluster=cluster, filled=0, young=0, began=self._clock(), count_0=0, count_1=0)
        self.commit()


def _row(line: Line, seen: float) -> tuple[object, ...]:
    id_, _, *rest = msgspec.structs.astuple(line)
    return (id_, *rest, seen)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut loses the last commits whole, which are read again
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection
