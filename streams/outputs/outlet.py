"""Outlet: the queues of one output topic. Outlets: all of them, and which of their queues may be sent.

    put ─► queue of a partition ─► seal ─► ready

Outlets know no broker. Sending is left to `streams.outputs.outputs`; finding partitions, to `streams.outputs.missing_topics`.
"""

import asyncio
from collections.abc import Callable, Sequence

from streams.outputs.partitioner import hashed, hashes
from streams.outputs.queue import Queue, Receipt, settle_all
from streams.outputs.records import Headers


class Outlet:
    """One output topic, for records of equal headers. Until its partitions are known, and while it is missing, they wait."""

    def __init__(self, outlets: "Outlets", topic: str, headers: Headers = ()) -> None:
        self.topic = topic  # without the prefix
        self._headers = headers
        self.open = False  # whether its partitions are known and it can be written to
        self.missing_since: float | None = None  # on the monotonic clock
        # By partition; before the partitions are known, one queue for all records.
        self.queues: list[Queue] = [Queue(topic, -1, outlets.compression, headers)]
        self._outlets = outlets
        self._touched = outlets.touched

    def put(self, key: bytes, value: bytes) -> None:
        """Appends a record; it is sent after the next `seal`."""
        queue = self.queues[hashed(key) % len(self.queues)]
        queue.keys.append(key)
        queue.values.append(value)
        self._touched.add(queue)

    def put_all(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Appends records with keys that are all new, as `put` does, for a fifth of its cost."""
        queues, touched = self.queues, self._touched
        count = len(queues)
        for key, value, hash_ in zip(keys, values, hashes(keys), strict=True):
            queue = queues[hash_ % count]
            queue.keys.append(key)
            queue.values.append(value)
            touched.add(queue)

    def waits(self) -> bool:
        """Whether it has records that are not in flight."""
        return any(queue.waits() for queue in self.queues)

    def holds(self, queue: Queue) -> bool:
        """Whether the queue is one of the present division."""
        return self.queues[max(queue.partition, 0) % len(self.queues)] is queue

    def divide(self, partitions: int) -> None:
        """Takes another number of partitions; puts the records that wait again, in order."""
        before = self.queues
        # A batch in flight keeps its queue until it lands.
        compression, headers = self._outlets.compression, self._headers
        self.queues = [Queue(self.topic, number, compression, headers) for number in range(partitions)]
        for queue in before:
            self.put_again(queue)

    def put_again(self, queue: Queue) -> None:
        """Moves the records that wait in a queue of a former division to their present queues, in order."""
        records, receipts = queue.empty()
        for key, value in records:
            self.put(key, value)
        self._outlets.seal(settle_all(receipts))


class Outlets:
    """All outlets by topic and headers, and the state of their queues."""

    def __init__(self, compression: int) -> None:
        self.compression = compression  # as Kafka numbers it
        self.touched: set[Queue] = set()  # with records that are not sealed
        self.ready: dict[Queue, None] = {}  # with sealed records and none in flight, the longest waiting first
        self.flights: set[Queue] = set()  # with a batch in flight
        self.wake = asyncio.Event()  # set when a queue becomes ready
        self._outlets: dict[tuple[str, Headers], Outlet] = {}

    def outlet(self, topic: str, headers: Headers = ()) -> Outlet:
        """The outlet of a topic (without the prefix) and of headers, the same for every call."""
        found = self._outlets.get((topic, headers))
        if found is None:
            found = self._outlets[topic, headers] = Outlet(self, topic, headers)
        return found

    def of(self, queue: Queue) -> Outlet:
        """The outlet of a queue."""
        return self.outlet(queue.topic, queue.headers)

    def all(self) -> list[Outlet]:
        """All outlets that were asked for."""
        return list(self._outlets.values())

    def seal(self, finished: Callable[[], None]) -> None:
        """Lets go of the records that were put since the last call. `finished` is called when all are acknowledged."""
        touched = self.touched
        if not touched:
            finished()
            return
        receipt = Receipt(len(touched), finished)
        ready = self.ready
        for queue in touched:
            queue.seal(receipt)
            if queue.flying is None:
                ready[queue] = None
        touched.clear()
        self.wake.set()

    def send_again(self, queue: Queue) -> None:
        """Makes a queue ready if it has records and none in flight."""
        if queue.waits() and queue.flying is None:
            outlet = self.of(queue)
            if not outlet.holds(queue):  # the topic got more partitions meanwhile
                outlet.put_again(queue)
                return
            self.ready[queue] = None
            self.wake.set()
