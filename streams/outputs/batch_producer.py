"""BatchProducer: a Kafka producer of whole record batches. Writes each batch once to the broker that leads its partition.

    send ─► batches that wait for a broker ─► one request at a time to each broker ─► landed

Idempotent, with acks=all: the broker gives a producer id, and the records of a partition have sequence numbers. A batch with an
unknown outcome (a time-out, a lost connection) is resent with the same sequence numbers; the broker reports a duplicate. Batches
of one partition go one behind the other.

Connections, security and metadata are left to aiokafka; the form of a request, to `streams.outputs.produce_request`. aiokafka's
own producer is made for single records: it copies what it sends seven times, and makes some ten objects for a batch; both
together took a fifth of the router's time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    DuplicateSequenceNumber,
    KafkaError,
    NodeNotReadyError,
    NoError,
    ProducerClosed,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import TopicPartition

from notifier.ending import end
from notifier.kafka import client_options
from notifier.settings import Settings
from streams.outputs.produce_request import REQUEST_TIMEOUT_S, Partition, ProduceRequest
from streams.outputs.records import Records

logger = logging.getLogger(__name__)

REQUEST_BYTES = 8 * 1024 * 1024  # of one request; one batch may go beyond it
RETRY_S = 0.1
_CLOSE_S = 5.0
_SEQUENCES = 0x7FFFFFFF  # the highest sequence number; 0 follows it

Landed = Callable[[BaseException | None], None]


class _Flight:
    """A batch on its way, or behind another of its partition."""

    __slots__ = ("again", "batch", "landed", "partition", "records")

    def __init__(self, partition: Partition, records: Records, landed: Landed) -> None:
        self.partition = partition
        self.records = records
        self.landed = landed
        self.again = False  # whether it was sent more than once, so that it may be written already
        self.batch = bytearray()  # as it is written, with its sequence numbers, while it is on its way


class BatchProducer:
    """Writes for one producer id. `await start()` first; after a fatal error of one batch, another one has to be made.

    Every batch lands exactly once: `landed(None)` when all replicas have it, else with the error. Then it is not written, or
    (ProducerClosed) its outcome is unknown.
    """

    def __init__(self, settings: Settings) -> None:
        self.client = AIOKafkaClient(**client_options(settings), request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        self._producer = (-1, -1)  # id and epoch
        self._sequences: dict[Partition, int] = {}  # the next record's sequence number
        self._waiting: dict[int, list[_Flight]] = {}  # by broker
        self._leaderless: list[_Flight] = []
        self._lines: dict[Partition, list[_Flight]] = {}  # by partition; the first of each is on its way
        self._tasks: dict[int | None, asyncio.Task[None]] = {}  # by broker; None: the one that looks for leaders
        self.closed = False

    async def start(self) -> None:
        """Connects and gets a producer id. Raises KafkaError."""
        await self.client.bootstrap()
        while True:
            node = self.client.get_random_node()
            try:
                if node is None:
                    raise NodeNotReadyError
                answer = await self.client.send(
                    node, InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=_SEQUENCES)
                )
                error = for_code(answer.error_code)
                if error is NoError:
                    self._producer = answer.producer_id, answer.producer_epoch
                    return
                raise error
            except KafkaError as failure:
                if not failure.retriable:
                    raise
                await self.client.force_metadata_update()
                await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        """Closes all connections. Batches that have not landed do so with ProducerClosed. Does not raise."""
        self.closed = True
        tasks = list(self._tasks.values())
        await end(*tasks)
        self._land_all(ProducerClosed())
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.client.close()

    def leads(self, topic: str, partition: int) -> bool:
        """Whether the partition is known to exist."""
        return self.client.cluster.leader_for_partition(TopicPartition(topic, partition)) is not None

    def send(self, topic: str, partition: int, records: Records, landed: Landed) -> None:
        """Sends a batch, behind those of the same partition that have not landed. Raises ProducerClosed."""
        if self.closed:
            raise ProducerClosed
        flight = _Flight((topic, partition), records, landed)
        line = self._lines.setdefault(flight.partition, [])
        line.append(flight)
        if len(line) == 1:
            self._begin(flight)

    def _begin(self, flight: _Flight) -> None:
        # The sequence number goes on only when the batch has landed, since a refused batch takes none.
        try:
            flight.batch = flight.records.encode((*self._producer, self._sequences.get(flight.partition, 0)))
        except Exception as error:  # a fault of ours, or no memory; the partition must not wait for ever
            asyncio.get_running_loop().call_soon(self._land, flight, error)
            return
        self._dispatch(flight)

    def _dispatch(self, flight: _Flight) -> None:
        leader = self.client.cluster.leader_for_partition(TopicPartition(*flight.partition))
        if leader is None or leader < 0:
            self._leaderless.append(flight)
            self._work(None, self._find_leaders)
        else:
            self._waiting.setdefault(leader, []).append(flight)
            self._work(leader, lambda: self._serve(leader))

    def _work(self, node: int | None, work: Callable[[], Any]) -> None:
        running = self._tasks.get(node)
        if (running is None or running.done()) and not self.closed:
            task = self._tasks[node] = asyncio.create_task(work(), name=f"send to {node}")
            task.add_done_callback(lambda done: self._worked(node, done))

    def _worked(self, node: int | None, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(node) is task:
            del self._tasks[node]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:  # a fault of ours; no batch may wait for ever
            logger.error("Batches cannot be sent any more.", exc_info=error, extra={"action": "send"})
            self.closed = True
            self._land_all(error)

    async def _serve(self, node: int) -> None:
        """Sends the batches that wait for one broker."""
        waiting = self._waiting[node]
        while waiting:
            size, count = 0, 0
            while count < len(waiting) and size < REQUEST_BYTES:
                size += len(waiting[count].batch)
                count += 1
            flights = waiting[:count]
            del waiting[:count]
            try:
                request = ProduceRequest([(flight.partition, flight.batch) for flight in flights])
                answers = await self.client.send(node, request)
            except KafkaError as error:
                logger.warning("Broker %s does not take batches now: %r", node, error, extra={"action": "send"})
                if error.retriable:
                    await self._send_again(flights)
                else:
                    for flight in flights:
                        self._land(flight, error)
            else:
                await self._answered(flights, answers)

    async def _answered(self, flights: Iterable[_Flight], answers: dict[Partition, int]) -> None:
        again: list[_Flight] = []
        stale = False  # whether an answer says that our metadata is old
        for flight in flights:
            error = for_code(answers.get(flight.partition, -1))
            if error is NoError or error is DuplicateSequenceNumber:
                numbers = self._sequences
                numbers[flight.partition] = (numbers.get(flight.partition, 0) + len(flight.records)) & _SEQUENCES
                self._land(flight, None)
            elif error.retriable and error is not UnknownTopicOrPartitionError:  # which may never come back
                again.append(flight)
            else:
                stale |= error.invalid_metadata
                # What may be written already must not go again under another number, or beside other records.
                self._land(flight, KafkaError(f"its outcome is unknown: {error()}") if flight.again else error())
        if again:
            await self._send_again(again)
        elif stale:
            await self.client.force_metadata_update()

    async def _send_again(self, flights: Sequence[_Flight]) -> None:
        """Resends them, with the same sequence numbers, to the leaders that their partitions have after a while."""
        await asyncio.sleep(RETRY_S)
        await self.client.force_metadata_update()
        for flight in flights:
            flight.again = True
            self._dispatch(flight)

    async def _find_leaders(self) -> None:
        while self._leaderless:
            flights, self._leaderless = self._leaderless, []
            await self.client.force_metadata_update()
            await asyncio.sleep(RETRY_S)
            for flight in flights:
                leader = self.client.cluster.leader_for_partition(TopicPartition(*flight.partition))
                if leader is None:
                    self._land(flight, UnknownTopicOrPartitionError())
                else:
                    self._dispatch(flight)

    def _land(self, flight: _Flight, error: BaseException | None) -> None:
        line = self._lines[flight.partition]
        line.pop(0)
        if line:
            self._begin(line[0])
        else:
            del self._lines[flight.partition]
        flight.landed(error)

    def _land_all(self, error: BaseException) -> None:
        lines, self._lines = self._lines, {}
        for line in lines.values():
            for flight in line:
                flight.landed(error)
