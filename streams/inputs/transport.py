"""BatchTransport: a Faust transport whose Kafka consumer gives an agent whole batches, at least once and without repetition in an
orderly change of partitions.

One Faust event is one `Batch`: the records of one partition that were fetched at once. It is acknowledged once, so Faust's own
work (about 0.5 ms an event) is paid once for up to 2,000 records. Several batches of a partition may be at work: an agent takes
the next batch before it acknowledges the last one. A partition's offset moves by whole batches, in order. A batch that was half
done when the process was killed is repeated whole. Back-pressure counts the bytes at work (`OPEN_BYTES`).

Three faults of faust-streaming 0.15.3 are mended here, each with a test in `test_transport.py` that fails without:

1. A rebalance forgets acknowledgements that are not committed. Here the batches at work are finished and committed first.
2. A commit steps over an event that is still at work. Here an offset moves only to the end of the oldest unfinished batch.
3. Records that arrive while the flow is stopped are dropped, and a partition without a committed offset is not sought back
   to. Here records that were not handed over are sought back to, and such a partition is read from its start.

Besides: a commit that fails is tried again (Faust crashes the worker, or forgets it), a batch that does not end within
`FINISH_S` of a rebalance is left to the next owner of its partition (Faust waits without limit, and the whole group with it), and
the broker's address and security come from Notifier's settings. Nothing of Faust is patched; classes are derived. Taking records
out of aiokafka is left to `streams.inputs.fetching`, judging whether a stream stands still to `streams.inputs.progress`.

Tried and worse: Faust's `exactly_once` (its transactions doubled records under SIGKILL and crashed the survivor).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from faust import App
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from yarl import URL

from notifier.kafka import bootstrap_servers, kafka_consumer
from notifier.settings import Settings
from streams.inputs.batch import Batch, Record
from streams.inputs.fetching import Taken, take_fetched

logger = logging.getLogger(__name__)

# Where Faust's services log that they start and stop; without it they log in our modules' names. Mode replaces loggers that it
# marks as its own, and this is none of them.
SERVICES = logging.getLogger("mode.notifier")

BATCH_RECORDS = 2000  # of one event at most
FETCH_BYTES = 2 * 1024 * 1024  # of one fetch of all partitions; it bounds memory
# Of one fetch of one partition, kept until it is the partition's turn. A larger Kafka batch comes all the same (KIP-74).
PARTITION_BYTES = 512 * 1024
OPEN_BYTES = 3 * 1024 * 1024  # handed over and not yet finished; one batch may go beyond it
OPEN_BATCHES = 256  # handed over and not yet finished; must stay below Faust's `stream_buffer_maxsize`
FINISH_S = 15.0  # for a batch at work when its partition goes; below the group's rebalance timeout of 20 s


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """The records of one fetch, and the assignment that they belong to."""

    records: Taken
    assignment: Any  # aiokafka's; compared by identity
    generation: int  # of the group


class BatchThread(driver.AIOKafkaConsumerThread):
    """The thread in which Faust runs its Kafka consumer. Methods with `_` in front run in that thread."""

    logger = SERVICES

    def _create_worker_consumer(self, transport: "BatchTransport") -> AIOKafkaConsumer:
        conf = self.app.conf
        return kafka_consumer(
            transport.settings,
            group_id=conf.id,
            auto_offset_reset="earliest",
            max_poll_records=transport.batch_records,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=PARTITION_BYTES,
            fetch_max_wait_ms=500,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
        )

    async def seek_to_committed(self) -> Mapping[TopicPartition, int | None]:
        """Seeks to the committed offsets, and to the start of partitions without one."""
        offsets: Mapping[TopicPartition, int | None] = await self.call_thread(self._seek_to_committed)
        return offsets

    async def _seek_to_committed(self) -> Mapping[TopicPartition, int | None]:
        consumer = self._ensure_consumer()
        if not consumer.assignment():  # aiokafka asserts that there is one
            return {}
        offsets: Mapping[TopicPartition, int | None] = await consumer.seek_to_committed()
        fresh = [partition for partition, offset in offsets.items() if not offset]
        if fresh:
            await consumer.seek_to_beginning(*fresh)
        return offsets

    async def _fetch_records(
        self, consumer: AIOKafkaConsumer, active_partitions: Any, timeout: float = 0.0, max_records: int = BATCH_RECORDS
    ) -> "Fetched":
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        records: Taken = {}
        if self.consumer.flow_active:
            with fetcher._subscriptions.fetch_context():
                records = await take_fetched(fetcher, active_partitions, timeout, max_records)
        # Only this thread, in which assignments happen, knows the assignment that the records belong to: a fetch that began
        # before a rebalance may end after it.
        subscription = consumer._subscription.subscription
        return Fetched(
            records=records,
            assignment=None if subscription is None else subscription.assignment,
            generation=consumer._coordinator.generation,
        )

    async def seek_back(self, offsets: Mapping[TP, int], assignment: object) -> None:
        """Seeks back to these offsets, so that they are fetched again; never forward, and only within this assignment.

        A later assignment begins at the committed offsets, which are never further.
        """
        await self.call_thread(self._seek_back, offsets, assignment)

    async def _seek_back(self, offsets: Mapping[TP, int], assignment: Any) -> None:
        consumer = self._ensure_consumer()
        subscription = consumer._subscription.subscription
        if subscription is None or subscription.assignment is not assignment:
            return
        for tp, offset in offsets.items():
            state = subscription.assignment.state_value(TopicPartition(tp.topic, tp.partition))
            if state is not None and state.has_valid_position and state.position > offset:
                consumer.seek(TopicPartition(tp.topic, tp.partition), offset)

    def position(self, tp: TP) -> int | None:
        """The offset that is fetched next; None where it is not known. May be called from any thread."""
        subscription = self._ensure_consumer()._subscription.subscription
        if subscription is None:
            return None
        state = subscription.assignment.state_value(TopicPartition(tp.topic, tp.partition))
        return int(state.position) if state is not None and state.has_valid_position else None

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        try:
            await consumer.commit({TopicPartition(tp.topic, tp.partition): offset for tp, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            logger.info("The partitions went before they were committed: %s", error, extra={"action": "commit"})
            return False
        except KafkaError as error:
            logger.warning("Offsets cannot be committed now: %s", error, extra={"action": "commit"})
            return False
        return True

    def close(self) -> None:
        """Nothing: Faust calls it from another thread's loop, in a rebalance while it stops. The thread closes all at its end."""


class BatchConsumer(driver.Consumer):
    """Hands one Faust message to the agent for the records of a partition that were fetched at once; its value is a `Batch`.

    At least once: a batch is committed after the agent has finished it, and never before an older one of its partition.
    """

    logger = SERVICES

    _thread: BatchThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_flight: dict[TP, deque[Message]] = {}  # messages that were handed over, oldest first
        self._finished: dict[TP, int] = {}  # the offsets that may be committed
        self._open: dict[Message, int] = {}  # messages that may still be at work, with their bytes
        self.handed = 0  # batches that were handed over, ever

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    # --- handing over ---

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                fetched = await self._next_records()
                if fetched is not None and fetched.records:
                    await self._hand_over(fetched)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    async def _next_records(self) -> Fetched | None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        # A copy: Faust changes its set while the other thread reads it, and an empty one means "all" there.
        active = frozenset(self._get_active_partitions())
        if not active or not self.flow_active:
            await self.sleep(0.05)
            return None
        fetched: Fetched = await self._getmany(active_partitions=active, timeout=0.5)
        return fetched

    async def _hand_over(self, fetched: Fetched) -> None:
        """Gives the records to the agent, partition by partition; records that cannot be given now are fetched again."""
        left = {TP(tp.topic, tp.partition): records[0].offset for tp, records in fetched.records.items()}
        size = self.transport.batch_records
        for partition, records in fetched.records.items():
            tp = TP(partition.topic, partition.partition)
            for start in range(0, len(records), size):
                part = records if len(records) <= size else records[start : start + size]
                left[tp] = part[0].offset
                while self._is_full() and self._flows(fetched.generation):
                    await self._wait_for_ack(timeout=1)
                if not self._flows(fetched.generation) or tp not in self._get_active_partitions():
                    break
                if not await self._hand_batch(tp, part):
                    break
            else:
                del left[tp]
        # Faust's call object refers to itself, and would keep the records until the garbage collector comes.
        fetched.records.clear()
        if left:
            await self._thread.seek_back(left, fetched.assignment)

    def _flows(self, generation: int) -> bool:
        return self.flow_active and self.app.consumer_generation_id == generation and not self.should_stop

    def _is_full(self) -> bool:
        self._open = {message: size for message, size in self._open.items() if not message.acked}
        return len(self._open) >= OPEN_BATCHES or sum(self._open.values()) >= OPEN_BYTES

    async def _hand_batch(self, tp: TP, records: Sequence[Record]) -> bool:
        message = _faust_message(tp, records, self.app.consumer_generation_id)
        batches = self._in_flight.setdefault(tp, deque())
        batches.append(message)
        handed = self.callback(message)
        if handed in (await self.wait_first(handed, self.suspend_flow.wait())).done:
            self.handed += 1
            self._open[message] = sum([len(record.value) for record in records if record.value is not None])
            return True
        if message in batches:
            batches.remove(message)
        return False

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: `OPEN_BYTES` is the back-pressure, and Faust's own would change the active partitions behind its back."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, as above."""

    # --- finishing and committing ---

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterable[TP]:
        return [tp for tp in self._in_flight if topics is None or tp in topics or tp.topic in topics]

    def _new_offset(self, tp: TP) -> int | None:
        batches = self._in_flight.get(tp)
        while batches and batches[0].acked:
            self._finished[tp] = batches.popleft().offset + 1
        self._acked[tp].clear()  # Faust's own books, which would grow for ever
        self._acked_index[tp].clear()
        return self._finished.get(tp)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        mine = self.assignment()
        offsets = {tp: offset for tp, offset in offsets.items() if tp in mine}
        if not offsets or not await self._commit(offsets):
            return False
        self._committed_offset.update(offsets)
        return True

    async def wait_empty(self) -> None:
        """Waits up to `FINISH_S` seconds until the agent has finished its batches, and commits them.

        Batches that are not finished then are forgotten, so that they are never committed: Faust acknowledges also those that
        it cancels.
        """
        deadline = monotonic() + FINISH_S
        # Polls, since `_hand_over` may take Faust's only event for this.
        while (busy := self._busy()) and not self.should_stop and monotonic() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
        while await self.maybe_wait_for_commit_to_finish():
            pass  # a commit that began before the last batch ended does not hold it
        await self.commit(start_new_transaction=False)
        self._unacked_messages.clear()
        if busy:
            self._forget()
            logger.warning(
                "The batch at work of %s did not end in time and will be repeated by the next owner of its partition.",
                ", ".join(sorted({f"{message.tp.topic}/{message.tp.partition}" for message in busy})),
                extra={"action": "finish"},
            )

    def _busy(self) -> list[Message]:
        return [message for message in list(self._unacked_messages) if not message.acked]

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finishes and commits, then forgets."""
        if self.assignment():
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()  # batches that the agent has not begun
            await self.wait_empty()
        self._forget()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begins at the committed offsets."""
        self._forget()
        await super().on_partitions_assigned(assigned, generation_id)

    def _forget(self) -> None:
        self._in_flight.clear()
        self._finished.clear()
        self._open.clear()

    # --- progress ---

    def progress(self) -> dict[tuple[str, int], tuple[int, int]]:
        """By (topic, partition) of the assignment: the finished offset, and the end as far as it is known."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for tp in self.assignment():
            self._new_offset(tp)
            end = self.highwater(tp)
            if end is not None:
                finished = self._finished.get(tp) or self._committed_offset[tp] or 0
                # Control records of transactions have offsets and are never handed over: where no batch is at work, all that
                # was read is finished. Otherwise a quiet partition that ends with a control record would look stalled.
                if not self._in_flight.get(tp):
                    finished = max(finished, self._thread.position(tp) or 0)
                found[tp.topic, tp.partition] = (finished, end)
        return found

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust's check only logs, and reads books that this class does not keep. See `streams.inputs.progress`."""


class BatchTransport(driver.Transport):
    """The transport of a Faust app; see `StreamApp._new_transport`."""

    Consumer = BatchConsumer

    def __init__(self, app: App, settings: Settings, batch_records: int = BATCH_RECORDS) -> None:
        self.settings = settings
        self.batch_records = batch_records  # of one event at most
        super().__init__(broker_urls(settings), app)


def _faust_message(tp: TP, records: Sequence[Record], generation: int) -> Message:
    last = records[-1]
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        last.offset,
        last.timestamp / 1000.0,
        0,
        {},
        None,
        Batch(topic=tp.topic, partition=tp.partition, records=records),
        None,
        None,
        None,
        tp,
        generation_id=generation,
    )


def broker_urls(settings: Settings) -> list[URL]:
    """The broker's addresses as Faust spells them. Raises BrokerError."""
    return [URL(f"kafka://{server.strip()}") for server in bootstrap_servers(settings).split(",")]
