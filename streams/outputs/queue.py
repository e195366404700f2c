"""Queue: the records that wait for one output partition, in order, and the one batch of them that is in flight.

A queue knows no broker: which batch is sent when, and again, is left to `streams.outputs.outputs`.
"""

from collections import deque
from collections.abc import Callable, Iterable

from streams.outputs.record_batch import OpenBatch, Output, RecordBatch, framed

BATCH_BYTES = 256 * 1024  # of one batch of several records


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
    """The records of one output partition that are not acknowledged."""

    __slots__ = (
        "_closed", "_compression", "_open", "_waiting", "failures", "flying", "landing", "one_by_one", "partition", "receipts",
        "sent", "since", "topic",
    )  # fmt: skip

    def __init__(self, topic: str, partition: int, compression: int) -> None:
        self.topic = topic  # without the prefix
        self.partition = partition  # -1 while the topic's partitions are not known
        self._compression = compression
        self._waiting: deque[RecordBatch] = deque()
        self._closed = 0  # records in `_waiting`
        self._open: OpenBatch | None = None  # behind `_waiting`
        self.sent = 0  # records that have ever left the queue
        self.receipts: deque[tuple[Receipt, int]] = deque()  # each with the `sent` at which its last record has left
        self.flying: RecordBatch | None = None  # in flight
        self.landing: list[Receipt] = []  # receipts whose last record is in flight
        self.since = 0.0  # when `flying` took off, on the monotonic clock
        # After the broker refused a batch as too large: the record that is too large has to be found.
        self.one_by_one = False
        self.failures = 0  # in a row

    def append(self, key: bytes, value: bytes) -> None:
        """Puts a record behind the others; the key is `framed`."""
        batch = self._open
        if batch is None or batch.size + len(value) > BATCH_BYTES:
            self._close()
            batch = self._open = OpenBatch()
        batch.append(key, value)

    def _close(self) -> None:
        if self._open is not None:
            self._waiting.append(self._open.close(self._compression))
            self._closed += self._open.count
            self._open = None

    def waits(self) -> bool:
        """Whether records wait to take off."""
        return self._open is not None or bool(self._waiting)

    def seal(self, receipt: Receipt) -> None:
        """Settles the receipt when all records that wait now are acknowledged."""
        last = self.sent + self._closed
        self.receipts.append((receipt, last if self._open is None else last + self._open.count))

    def take(self) -> RecordBatch:
        """Lets the first batch take off."""
        if not self._waiting:
            self._close()
        batch = self._waiting.popleft()
        if self.one_by_one and batch.count > 1:
            self._waiting.extendleft(reversed([self._batch_of([record]) for record in batch.records()]))
            batch = self._waiting.popleft()
        self.flying = batch
        self._closed -= batch.count
        self.sent += batch.count
        while self.receipts and self.receipts[0][1] <= self.sent:
            self.landing.append(self.receipts.popleft()[0])
        return batch

    def take_back(self) -> None:
        """Puts the batch in flight back in front of the others."""
        if self.flying is None:
            return
        ends = self.sent
        self.sent -= self.flying.count
        self._closed += self.flying.count
        self._waiting.appendleft(self.flying)
        self.receipts.extendleft((receipt, ends) for receipt in reversed(self.landing))
        self.flying, self.landing = None, []

    def _batch_of(self, records: Iterable[Output]) -> RecordBatch:
        batch = OpenBatch()
        for key, value in records:
            batch.append(framed(key), value)
        return batch.close(self._compression)

    def landed(self) -> None:
        """The batch in flight is acknowledged."""
        receipts, self.flying, self.landing, self.failures = self.landing, None, [], 0
        for receipt in receipts:
            receipt.settle()

    def empty(self) -> tuple[list[Output], list[Receipt]]:
        """Takes all records that wait; the caller settles the receipts."""
        self._close()
        records = [record for batch in self._waiting for record in batch.records()]
        receipts = [receipt for receipt, _ in self.receipts]
        self.sent += self._closed
        self._closed = 0
        self._waiting, self.receipts = deque(), deque()
        return records, receipts
