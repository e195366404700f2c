"""Queue: the records that wait for one output partition, in order, and those of them that are in flight.

A queue knows no broker: which records are sent when, and again, is left to `streams.outputs.outputs`.
"""

from collections import deque
from collections.abc import Callable, Iterable

from streams.outputs.records import Headers, Output, Records

BATCH_BYTES = 256 * 1024  # of the values that take off together; one record may have more


class Receipt:
    """Counts the queues that still hold records of one input batch; at zero the batch is finished."""

    __slots__ = ("_finished", "open")

    def __init__(self, queues: int, finished: Callable[[], None]) -> None:
        self.open = queues
        self._finished = finished

    def settle(self) -> None:
        """One queue less."""
        self.open -= 1
        if not self.open:
            self._finished()


def settle_all(receipts: Iterable[Receipt]) -> Callable[[], None]:
    """A function that settles all of them."""

    def settle() -> None:
        for receipt in receipts:
            receipt.settle()

    return settle


class Queue:
    """The records of one output partition that are not acknowledged.

    Who routes appends to `keys` and `values` itself, since a call for each record would cost as much as all that is done here.
    """

    __slots__ = (
        "_compression", "failures", "flying", "headers", "keys", "landing", "one_by_one", "partition", "receipts", "sent",
        "since", "topic", "values",
    )  # fmt: skip

    def __init__(self, topic: str, partition: int, compression: int, headers: Headers = ()) -> None:
        self.topic = topic  # without the prefix
        self.headers = headers  # of each record
        self.partition = partition  # -1 while the topic's partitions are not known
        self._compression = compression
        self.keys: list[bytes] = []  # that wait to take off
        self.values: list[bytes] = []  # likewise
        self.sent = 0  # records that have ever left the queue
        self.receipts: deque[tuple[Receipt, int]] = deque()  # each with the `sent` at which its last record has left
        self.flying: Records | None = None  # in flight
        self.landing: list[tuple[Receipt, int]] = []  # those of the receipts whose last record is in flight
        self.since = 0.0  # when `flying` took off, on the monotonic clock
        # So many of the first records take off alone: the broker refused them together, and which is too large has to be found.
        self.one_by_one = 0
        self.failures = 0  # in a row

    def waits(self) -> bool:
        """Whether records wait to take off."""
        return bool(self.values)

    def seal(self, receipt: Receipt) -> None:
        """Settles the receipt when all records that wait now are acknowledged."""
        self.receipts.append((receipt, self.sent + len(self.values)))

    def take(self) -> Records:
        """Lets the first records take off."""
        keys, values = self.keys, self.values
        count = 1 if self.one_by_one else _fitting(values)
        self.one_by_one = max(self.one_by_one - 1, 0)
        if count == len(values):
            self.keys, self.values = [], []
        else:
            keys, values = keys[:count], values[:count]
            del self.keys[:count], self.values[:count]
        self.flying = Records(keys, values, self._compression, self.headers)
        self.sent += count
        while self.receipts and self.receipts[0][1] <= self.sent:
            self.landing.append(self.receipts.popleft())
        return self.flying

    def take_back(self) -> None:
        """Puts what is in flight back in front of the others."""
        if self.flying is None:
            return
        self.sent -= len(self.flying)
        self.keys[:0], self.values[:0] = self.flying.keys, self.flying.values
        self.receipts.extendleft(reversed(self.landing))
        self.flying, self.landing = None, []

    def landed(self) -> None:
        """What is in flight is acknowledged."""
        receipts, self.flying, self.landing, self.failures = self.landing, None, [], 0
        for receipt, _ in receipts:
            receipt.settle()

    def empty(self) -> tuple[list[Output], list[Receipt]]:
        """Takes all records that wait; the caller settles the receipts."""
        records = list(zip(self.keys, self.values, strict=True))
        receipts = [receipt for receipt, _ in self.receipts]
        if self.flying is not None and receipts:  # the first of them may have records in flight too
            receipts[0].open += 1
            self.landing.append((receipts[0], self.sent))
        self.keys, self.values, self.receipts = [], [], deque()
        return records, receipts


def _fitting(values: list[bytes]) -> int:
    """How many of the first values take off together."""
    left = BATCH_BYTES
    for count, size in enumerate(map(len, values)):
        left -= size
        if left < 0:
            return max(count, 1)
    return len(values)
