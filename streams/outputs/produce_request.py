"""Sender: writes record batches to the brokers that lead their partitions, each once.

    send ─► what waits for a broker ─► one request at a time to each broker ─► landed

Idempotent with acks=all: the sender has a producer id of the broker's, and the records of a partition are numbered. A batch of
which nobody knows whether it was written (a time-out, a lost connection) is sent again as it was, under the same numbers, and a
broker that has it says so. Batches of one partition go one behind the other.

aiokafka does the rest: connections, security, and which broker leads what. Its own producer is made for single records: it
copies what it sends seven times, and makes some ten objects for a batch; both together took a fifth of the router's time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from struct import Struct
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
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import TopicPartition

from notifier.kafka import client_options
from notifier.settings import Settings
from streams.outputs.record_batch import RecordBatch

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 30.0
REQUEST_BYTES = 8 * 1024 * 1024  # of one request; one batch may go beyond it
RETRY_S = 0.1
_CLOSE_S = 5.0
_SEQUENCES = 0x7FFFFFFF  # they begin again at 0 behind it
_ACKS_ALL = -1

Landed = Callable[[BaseException | None], None]
Partition = tuple[str, int]


class _Flight:
    """A batch on its way, or behind another of its partition."""

    __slots__ = ("batch", "landed", "partition", "parts")

    def __init__(self, partition: Partition, batch: RecordBatch, landed: Landed) -> None:
        self.partition = partition
        self.batch = batch
        self.landed = landed
        self.parts = (b"", b"")  # as it is written, with its numbers, while it is on its way


class Sender:
    """Writes for one producer id. `await start()` first; after a fatal error of one batch, another sender has to be made.

    Every batch lands exactly once: `landed(None)` when all replicas have it, else with the error; then it is not written, or
    (ProducerClosed) nobody knows.
    """

    def __init__(self, settings: Settings) -> None:
        self.client = AIOKafkaClient(**client_options(settings), request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        self._producer = (-1, -1)  # id and epoch
        self._sequences: dict[Partition, int] = {}  # the number of the next record
        self._waiting: dict[int, list[_Flight]] = {}  # by broker
        self._leaderless: list[_Flight] = []
        self._lines: dict[Partition, list[_Flight]] = {}  # the first of each is on its way
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
        """Closes all connections. What has not landed does so with ProducerClosed. Does not raise."""
        self.closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._land_all(ProducerClosed())
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(self.client.close(), _CLOSE_S)

    def leads(self, topic: str, partition: int) -> bool:
        """Whether the partition is known to exist."""
        return self.client.cluster.leader_for_partition(TopicPartition(topic, partition)) is not None

    def send(self, topic: str, partition: int, batch: RecordBatch, landed: Landed) -> None:
        """Sends a batch, behind those of the same partition that have not landed. Raises ProducerClosed."""
        if self.closed:
            raise ProducerClosed
        flight = _Flight((topic, partition), batch, landed)
        line = self._lines.setdefault(flight.partition, [])
        line.append(flight)
        if len(line) == 1:
            self._begin(flight)

    def _begin(self, flight: _Flight) -> None:
        # The numbers go on only when it has landed, since what is refused takes none.
        flight.parts = flight.batch.encode((*self._producer, self._sequences.get(flight.partition, 0)))
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
        if (error := task.exception()) is not None:  # a fault of ours; nothing may wait for ever
            logger.error("Batches cannot be sent any more.", exc_info=error, extra={"action": "send"})
            self.closed = True
            self._land_all(error)

    async def _serve(self, node: int) -> None:
        """Sends to one broker what waits for it."""
        waiting = self._waiting[node]
        while waiting:
            size, count = 0, 0
            while count < len(waiting) and size < REQUEST_BYTES:
                size += len(waiting[count].parts[1])
                count += 1
            flights = waiting[:count]
            del waiting[:count]
            try:
                answers = await self.client.send(node, _Produce(flights))
            except KafkaError as error:
                logger.warning("Broker %s does not take batches now: %r", node, error, extra={"action": "send"})
                if error.retriable:
                    await self._send_again(flights)
                else:
                    for flight in flights:
                        self._land(flight, error)
            else:
                await self._answered(flights, answers)

    async def _answered(self, flights: Iterable[_Flight], answers: "dict[Partition, int]") -> None:
        again: list[_Flight] = []
        stale = False  # whether brokers know better than we where something is
        for flight in flights:
            error = for_code(answers.get(flight.partition, -1))
            if error is NoError or error is DuplicateSequenceNumber:
                numbers = self._sequences
                numbers[flight.partition] = (numbers.get(flight.partition, 0) + flight.batch.count) & _SEQUENCES
                self._land(flight, None)
            elif error.retriable and error is not UnknownTopicOrPartitionError:  # which may never come back
                again.append(flight)
            else:
                stale |= error.invalid_metadata
                self._land(flight, error())
        if again:
            await self._send_again(again)
        elif stale:
            await self.client.force_metadata_update()

    async def _send_again(self, flights: Sequence[_Flight]) -> None:
        """Sends them as they are to whoever leads their partitions after a while."""
        await asyncio.sleep(RETRY_S)
        await self.client.force_metadata_update()
        for flight in flights:
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


# --- the request, as aiokafka's connections want it ---

_int16, _int32 = Struct(">h").pack, Struct(">i").pack
_read_int16, _read_int32 = Struct(">h").unpack_from, Struct(">i").unpack_from
_read_answer = Struct(">ih").unpack_from  # partition and error
_ANSWER_BYTES = 30  # with offset, time and the log's start behind them


class _Parts:
    """Bytes that aiokafka's connection puts behind others, copied once however often it does so."""

    __slots__ = ("_parts", "_size")

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self._size = sum(map(len, parts))

    def encode(self) -> "_Parts":
        """As a request's header."""
        return self

    def __len__(self) -> int:
        return self._size

    def __add__(self, other: "_Parts") -> "_Parts":
        return _Parts(self._parts + other._parts)

    def __radd__(self, front: bytes) -> bytes:
        return b"".join([front, *self._parts])


class _Answers:
    """Reads what a broker answers: the error numbers by partition."""

    @staticmethod
    def decode(answer: BytesIO) -> dict[Partition, int]:
        """Leaves out the offsets, which nobody asks for."""
        data = answer.getbuffer()
        place = answer.tell()
        found: dict[Partition, int] = {}
        (topics,) = _read_int32(data, place)
        place += 4
        for _ in range(topics):
            (length,) = _read_int16(data, place)
            place += 2
            topic = str(data[place : place + length], "utf-8")
            (partitions,) = _read_int32(data, place + length)
            place += length + 4
            for _ in range(partitions):
                partition, error = _read_answer(data, place)
                found[topic, partition] = error
                place += _ANSWER_BYTES
        data.release()
        return found


class _Produce:
    """A produce request of version 7, which brokers know since Kafka 2.1."""

    API_KEY, API_VERSION = ProduceRequest_v7.API_KEY, ProduceRequest_v7.API_VERSION
    FLEXIBLE_VERSION = False
    RESPONSE_TYPE = _Answers

    def __init__(self, flights: Iterable[_Flight]) -> None:
        topics: dict[str, list[_Flight]] = {}
        for flight in flights:
            topics.setdefault(flight.partition[0], []).append(flight)
        parts = [_int16(-1) + _int16(_ACKS_ALL) + _int32(int(REQUEST_TIMEOUT_S * 1000)) + _int32(len(topics))]
        for topic, mine in topics.items():
            name = topic.encode()
            parts.append(_int16(len(name)) + name + _int32(len(mine)))
            for flight in mine:
                front, body = flight.parts
                parts += (_int32(flight.partition[1]) + _int32(len(front) + len(body)) + front, body)
        self._parts = parts

    def prepare(self, versions: dict[int, tuple[int, int]]) -> "_Produce":
        """As aiokafka asks for the version that a broker knows."""
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> _Parts:
        """What stands in front of every request."""
        header = RequestHeader_v1(self, correlation_id=correlation_id, client_id=client_id)
        return _Parts([header.encode()])

    def encode(self) -> _Parts:
        """The request itself."""
        return _Parts(self._parts)

    def parse_response_header(self, answer: BytesIO) -> Any:
        """What stands in front of every answer."""
        return ProduceRequest_v7.parse_response_header(self, answer)
