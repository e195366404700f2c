"""Routing: from messages to deliveries, one batch of records at a time.

What was read of one partition at once is judged by one catalog, in order, and everything it gives rise to is on its topics
before the batch counts as done: deliveries, attempts of what is suppressed, dead letters of what cannot be read. At least
once: a batch that was not done when the process died is routed again, under the same delivery ids. No record stops another:
whatever it does, it becomes a dead letter. What each decision is recorded as:

    cannot be read, unknown producer, unknown `configuration`   dead letter, stage `route`, with its origin
    receiver unknown or ambiguous; `configuration` disabled     one attempt `suppressed`
    recipient without an address for a consumer                 an attempt `suppressed: no_address` with the delivery's id
    passed                                                      a delivery on `deliveries.<consumer>`, keyed by lane
    nothing of all that                                         one attempt `suppressed` that says which filters dropped it
    every drop of a configuration                               counted, and written once a second
"""

import asyncio
import logging
import os
import socket
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from aiokafka import ConsumerRecord

from notifier.attempt import Attempt, Counter, Counters, Origin
from notifier.catalog import Catalog, Configuration
from notifier.dead_letter import LETTER_BYTES, DeadLetter
from notifier.delivery import Delivery, delivery_id
from notifier.errors import RecordError, RecordTooLarge
from notifier.message import MAX_BYTES, Message, topic_id
from notifier.outcome import Reason
from notifier.plugin import Consumer
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS, DELIVERIES
from notifier.user import User
from streams.definitions import Definitions
from streams.matching import Decision, Drop, Matcher
from streams.outputs import MAX_RECORD_BYTES, Outbox, Outputs

logger = logging.getLogger(__name__)

COUNT_EVERY_S = 1.0
NAMED_DROPS = 5  # in the detail of an attempt
_ERROR_CHARACTERS = 2_000  # of a dead letter's error, which may quote what the message says

Address = tuple[str | None, str | None]  # of a recipient in a consumer: name there, and address


@dataclass
class _Exit:
    """A consumer of a configuration, with what is the same for all its deliveries."""

    configuration: Configuration
    consumer: str
    plugin: Consumer[Any]
    world: str
    fixed: bool  # whether its parameters say where it delivers
    topic: str
    infix: str  # of delivery ids: "/<configuration>/<consumer>/"
    addresses: dict[str, Address] = field(default_factory=dict)  # by username

    def address(self, user: User) -> Address:
        """What the consumer calls a user, and how it reaches him or her."""
        found = self.addresses.get(user.username)
        if found is None:
            name = user.name_in(self.world)
            address = None if self.fixed else self.plugin.address(user)
            found = self.addresses[user.username] = name, address
        return found


class Router:
    """Routes batches of records of `messages`. `await start()` loads the definitions; only then may it be given any."""

    def __init__(self, settings: Settings, definitions: Definitions, outputs: Outputs | None = None) -> None:
        self._settings = settings
        self._definitions = definitions
        self._outputs = outputs or Outputs(settings)
        self._worker = f"router-{socket.gethostname()}-{os.getpid()}"
        self._counts: Tally[tuple[str, Reason]] = Tally()
        self._counting: asyncio.Task[None] | None = None
        self._matcher: Matcher
        self._exits: dict[str, tuple[list[_Exit], list[str]]] = {}

    async def start(self) -> None:
        """Waits until the definitions are read. Raises what makes them unreadable for good, for instance a newer version."""
        await self._definitions.load()
        self._definitions.on_change(self._use)
        self._counting = asyncio.create_task(self._count(), name="counters")

    async def stop(self) -> None:
        """Writes the last counters and closes the way out."""
        task, self._counting = self._counting, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            try:
                await asyncio.wait_for(self._send_counts(), 5.0)
            except TimeoutError:
                logger.warning("The last counters could not be written.", extra={"action": "count"})
        await self._outputs.stop()

    async def route_batch(self, records: Sequence[ConsumerRecord]) -> None:
        """Routes the records of one partition, in order; returns when all that came of it is acknowledged."""
        await self._outputs.send(self.judge_batch(records))

    def judge_batch(self, records: Sequence[ConsumerRecord]) -> Outbox:
        """What the records give rise to, by the definitions of this moment."""
        outbox = Outbox()
        at = now()
        for record in records:
            mine: list[tuple[str, str, bytes]] = []
            try:
                self._judge(record, at, mine)
            except RecordError as error:
                mine = [_dead_letter(record, error.reason, str(error))]
            except Exception as error:  # a fault of ours or of a plugin must cost this record, not its partition
                logger.exception(
                    "The record %s/%s/%s cannot be routed.",
                    record.topic,
                    record.partition,
                    record.offset,
                    extra={"action": "route"},
                )
                mine = [_dead_letter(record, "invalid", f"cannot be routed: {type(error).__name__}: {error}")]
            for topic, key, value in mine:
                outbox.add(topic, key.encode(), value)
        return outbox

    # --- one record ---

    def _judge(self, record: ConsumerRecord, at: datetime, out: list[tuple[str, str, bytes]]) -> None:
        value = record.value
        if value is None:
            raise RecordError("the record has no value; write a message as a JSON object")
        if len(value) > MAX_BYTES:
            raise RecordTooLarge(f"a message has at most {MAX_BYTES} bytes; this one has {len(value)}")
        message = Message.decode(value)
        message_id = message.id or topic_id(record.partition, record.offset, record.timestamp)
        decision = self._matcher.match(message, at)
        problem = decision.problem
        if problem is not None:
            if problem in ("unknown_producer", "unknown_configuration"):
                out.append(_dead_letter(record, problem, decision.text, message=(message.producer, message_id)))
            else:
                configuration = message.configuration if problem == "disabled" else None
                out.append(
                    _suppressed(record, message, message_id, at, problem, decision.text, configuration=configuration)
                )
            return
        source = f"{quote(message.producer, safe='')}/{quote(message_id, safe='')}"
        for judgement in decision.judgements:
            for drop in judgement.dropped:
                self._counts[judgement.configuration.name, drop.reason] += 1
            if judgement.passed:
                self._deliver(
                    record, message, message_id, source, at, decision, judgement.configuration, judgement.passed, out
                )
        if not out:
            out.append(self._nothing(record, message, message_id, at, decision))

    def _deliver(
        self,
        record: ConsumerRecord,
        message: Message,
        message_id: str,
        source: str,
        at: datetime,
        decision: Decision,
        configuration: Configuration,
        recipients: Sequence[User | None],
        out: list[tuple[str, str, bytes]],
    ) -> None:
        exits, gone = self._exits_of(configuration)
        receiver = None if decision.receiver is None else decision.receiver.username
        out.extend(
            _suppressed(
                record,
                message,
                message_id,
                at,
                "consumer_deleted",
                f"the consumer {name} cannot be used; its definition is missing or wrong",
                configuration=configuration.name,
                version=configuration.version,
                consumer=name,
                recipient=receiver,
                delivery=delivery_id(message.producer, message_id, configuration.name, name, receiver),
            )
            for name in gone
        )
        for exit_ in exits:
            if exit_.fixed and decision.receiver is None:
                everyone = tuple(user.username for user in recipients if user is not None)
                delivery = self._delivery(exit_, record, message, message_id, source, decision, None, everyone)
                _add_delivery(delivery, exit_, record, out)
                continue
            for user in recipients:
                called, address = (None, None) if user is None else exit_.address(user)
                if user is None or (called is None if exit_.fixed else address is None):
                    out.append(_no_address(record, message, message_id, source, at, exit_, user))
                    continue
                delivery = self._delivery(
                    exit_, record, message, message_id, source, decision, user, (), called, address
                )
                _add_delivery(delivery, exit_, record, out)

    def _delivery(
        self,
        exit_: _Exit,
        record: ConsumerRecord,
        message: Message,
        message_id: str,
        source: str,
        decision: Decision,
        user: User | None,
        everyone: tuple[str, ...],
        name: str | None = None,
        address: str | None = None,
    ) -> Delivery:
        sender = message.sender
        if decision.sender is not None:
            sender = exit_.address(decision.sender)[0] or sender
        return Delivery(
            id=source + exit_.infix + ("*" if user is None else quote(user.username, safe="")),
            configuration=exit_.configuration.name,
            configuration_version=exit_.configuration.version,
            consumer=exit_.consumer,
            lane=exit_.consumer if exit_.fixed else address or "",
            message=msgspec.Raw(record.value),
            message_id=message_id,
            recipient=None if user is None else user.username,
            recipients=everyone,
            address=address,
            sender=sender,
            receiver=name,
            not_before=message.not_before,
        )

    def _exits_of(self, configuration: Configuration) -> tuple[list[_Exit], list[str]]:
        """The consumers of a configuration, and the names of those that cannot be used."""
        known = self._exits.get(configuration.name)
        if known is not None:
            return known
        consumers = self._matcher.catalog.consumers
        exits = [
            _Exit(
                configuration=configuration,
                consumer=name,
                plugin=consumers[name],
                world=consumers[name].world_of(),
                fixed=consumers[name].fixed_address(),
                topic=DELIVERIES + name,
                infix=f"/{quote(configuration.name, safe='')}/{quote(name, safe='')}/",
            )
            for name in configuration.spec.consumers
            if name in consumers
        ]
        gone = [name for name in configuration.spec.consumers if name not in consumers]
        self._exits[configuration.name] = exits, gone
        return exits, gone

    def _nothing(
        self, record: ConsumerRecord, message: Message, message_id: str, at: datetime, decision: Decision
    ) -> tuple[str, str, bytes]:
        """The one attempt of a message that made no delivery."""
        judged = decision.judgements
        recipient = None if decision.receiver is None else decision.receiver.username
        only = judged[0].configuration if len(judged) == 1 else None
        drops: list[tuple[str, Drop]] = [
            (judgement.configuration.name, drop) for judgement in judged for drop in judgement.dropped
        ]
        if not judged:
            if message.configuration is None:
                detail = f"no enabled configuration considers messages of the producer {message.producer}"
            else:
                detail = f"the configuration {message.configuration} does not consider messages of {message.producer}"
            reason: Reason = "filtered"
        elif not drops:
            detail = f"no consumer: {', '.join(judgement.configuration.name for judgement in judged[:NAMED_DROPS])}"
            reason = "filtered"
        else:
            reasons = {drop.reason for _, drop in drops}
            reason = reasons.pop() if len(reasons) == 1 else "filtered"
            pairs = list(dict.fromkeys(f"{name}: {_named(drop)}" for name, drop in drops))
            detail = ", ".join(pairs[:NAMED_DROPS])
            if len(pairs) > NAMED_DROPS:
                detail += f" and {len(pairs) - NAMED_DROPS} more"
        return _suppressed(
            record,
            message,
            message_id,
            at,
            reason,
            detail,
            configuration=message.configuration if only is None else only.name,
            version=None if only is None else only.version,
            recipient=recipient,
        )

    # --- definitions and counters ---

    def _use(self, catalog: Catalog) -> None:
        self._matcher = Matcher(catalog)
        self._exits = {}

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            await self._send_counts()

    async def _send_counts(self) -> None:
        counts, self._counts = self._counts, Tally()
        if not counts:
            return
        counters = [
            Counter(configuration=configuration, reason=reason, count=count)
            for (configuration, reason), count in counts.items()
        ]
        outbox = Outbox()
        for start in range(0, len(counters), 5_000):  # so that each record stays below a batch's limit
            record = Counters(worker=self._worker, at=now(), counters=tuple(counters[start : start + 5_000]))
            outbox.add(ATTEMPTS.name, self._worker.encode(), record.encode())
        await self._outputs.send(outbox)


# --- records ---


def _add_delivery(delivery: Delivery, exit_: _Exit, record: ConsumerRecord, out: list[tuple[str, str, bytes]]) -> None:
    value = delivery.encode()
    if len(value) > MAX_RECORD_BYTES:
        text = f"its delivery has {len(value)} bytes, and a record at most {MAX_RECORD_BYTES}"
        out.append(_dead_letter(record, "too_large", text, delivery=delivery.id))
    else:
        out.append((exit_.topic, delivery.lane, value))


def _no_address(
    record: ConsumerRecord,
    message: Message,
    message_id: str,
    source: str,
    at: datetime,
    exit_: _Exit,
    user: User | None,
) -> tuple[str, str, bytes]:
    if user is None:
        detail = f"the consumer {exit_.consumer} writes to people, and the configuration has no users"
    elif exit_.fixed:
        detail = f"{user.username} has no name in the world {exit_.world!r}"
    else:
        detail = f"{user.username} has no address for the consumer {exit_.consumer} (world {exit_.world!r})"
    return _suppressed(
        record,
        message,
        message_id,
        at,
        "no_address",
        detail,
        configuration=exit_.configuration.name,
        version=exit_.configuration.version,
        consumer=exit_.consumer,
        recipient=None if user is None else user.username,
        delivery=source + exit_.infix + ("*" if user is None else quote(user.username, safe="")),
    )


def _suppressed(
    record: ConsumerRecord,
    message: Message,
    message_id: str,
    at: datetime,
    reason: Reason,
    detail: str,
    *,
    configuration: str | None = None,
    version: int | None = None,
    consumer: str | None = None,
    recipient: str | None = None,
    delivery: str | None = None,
) -> tuple[str, str, bytes]:
    if delivery is None:
        parts = [message.producer, message_id] + ([] if configuration is None else [configuration])
        delivery = "/".join(quote(part, safe="") for part in parts)
    attempt = Attempt(
        delivery=delivery,
        producer=message.producer,
        message=message_id,
        outcome="suppressed",
        reason=reason,
        started_at=at,
        ended_at=at,
        configuration=configuration,
        configuration_version=version,
        consumer=consumer,
        recipient=recipient,
        detail=detail,
        origin=Origin(topic=record.topic, partition=record.partition, offset=record.offset),
    )
    return ATTEMPTS.name, delivery, attempt.encode()


def _dead_letter(
    record: ConsumerRecord,
    reason: Reason,
    error: str,
    delivery: str | None = None,
    message: tuple[str, str] | None = None,  # producer and id, where the record could be read
) -> tuple[str, str, bytes]:
    letter = DeadLetter.of_record(
        id=None if message is None else message[1],
        stage="route",
        reason=reason,
        error=error[:_ERROR_CHARACTERS],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=_time(record.timestamp),
        key=record.key,
        value=record.value,
        delivery=delivery,
    )
    if message is not None:
        letter = msgspec.structs.replace(letter, producer=message[0], message=message[1])
    value = letter.encode()
    if len(value) > LETTER_BYTES:  # a huge id
        value = msgspec.structs.replace(letter, key=None, value=None, value_base64=None).encode()
    return DEAD_LETTERS.name, letter.id, value


def _time(timestamp_ms: int | None) -> datetime | None:
    try:
        return None if timestamp_ms is None or timestamp_ms < 0 else datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # whatever the writer's clock says
        return None


def _named(drop: Drop) -> str:
    """The filter that dropped, with the reason where that says more: `at-work (on_leave)`."""
    if drop.filter is None or drop.reason == "filtered":
        return drop.filter or drop.reason
    return f"{drop.filter} ({drop.reason})"
