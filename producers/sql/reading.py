"""Reading: what each kind of database does for a query. Connections are made for one query, and closed behind it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from notifier import Permanent, Retryable
from notifier.network import Network
from notifier.one_line import one_line
from notifier.outcome import Reason
from producers.sql.address import Address, Tls

CONNECT_S = 10.0
GRACE_S = 5.0  # that a server has to end a statement that took too long, before the connection is dropped
_CHUNK_CHARACTERS = 1_000_000  # that are asked for at a time, about
_MAX_CHUNK = 500  # rows

Row: TypeAlias = Sequence[object]
Answer: TypeAlias = tuple[
    Sequence[str], AsyncGenerator[Sequence[Row], None]
]  # the columns, and the rows chunk by chunk


@dataclass(frozen=True, kw_only=True)
class Source:
    """A database, and how it is reached."""

    address: Address
    network: Network
    tls: Tls
    authority: str | None  # of the server's certificate, as PEM
    timeout_s: float  # of a statement


class Reading(Protocol):
    """A transaction that only reads. It ends, and the connection with it, when its `async with` does."""

    argument: ClassVar[str]  # how a query names its one argument

    @staticmethod
    def quoted(name: str) -> str:
        """The name of a column as a query writes it."""

    async def ask(self, query: str, *arguments: object, limit: int) -> Answer:
        """The answer to a query, of which no more than about `limit` rows will be read. Raises Permanent and Retryable."""


class Chunk:
    """How many rows are asked for at a time: few where they are long."""

    def __init__(self) -> None:
        self.rows = 20

    def learn(self, rows: Sequence[Row]) -> None:
        """Takes the next number from how long these are."""
        size = sum(len(value) for row in rows for value in row if isinstance(value, str | bytes)) // max(len(rows), 1)
        self.rows = max(1, min(_MAX_CHUNK, _CHUNK_CHARACTERS // max(size, 1), self.rows * 4))


def refused(reason: Reason, error: object, then: str) -> Permanent:
    """What the database refuses, in its words, and what to do."""
    return Permanent(reason, f"the database refuses: {one_line(error, 300)}; {then}")


def failed(reason: Reason, error: object) -> Retryable:
    """What may succeed with the next run."""
    return Retryable(reason, f"the database failed: {one_line(error, 300)}; it is asked again with the next run")


def too_much(max_bytes: int) -> Permanent:
    """The database sent more than it may."""
    return Permanent(
        "invalid_content", f"the database sent more than {max_bytes:,} bytes; write a `query` that gives less"
    )


def too_slow(timeout_s: float) -> Retryable:
    """The query took longer than it may."""
    return Retryable(
        "timeout", f"the query took longer than {timeout_s:g} s; write a quicker one, or a larger `timeout_s`"
    )


WRITES = "a `sql` producer only reads"
RIGHTS = "give the database's user the right to read what the query names"
WRONG_QUERY = "write a `query` that the database understands"
WRONG_LOGIN = "write the right user and password in `url`"
