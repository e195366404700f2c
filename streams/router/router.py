"""Routing: from messages to deliveries, one batch of records at a time.

What was read of one partition at once is judged in order, each record by one catalog, and the batch counts as done when
everything it gives rise to is on its topics: deliveries, attempts of what is suppressed, dead letters of what cannot be read.
Until then the next batches are judged. At least once: a batch that was not done when the process died is routed again, under
the same delivery ids. No record stops another: whatever it does, it becomes a dead letter. What each decision is recorded as:

    cannot be read, unknown producer, unknown `configuration`   dead letter, stage `route`, with its origin
    receiver unknown or ambiguous; `configuration` disabled     one attempt `suppressed`
    recipient without an address for a consumer                 an attempt `suppressed: no_address` with the delivery's id
    passed                                                      a delivery on `deliveries.<consumer>`, keyed by lane
    nothing of all that                                         one attempt `suppressed` that says which filters dropped it
    every drop of a configuration                               counted, and written once a second

Which configurations want a message is `streams.router.matcher`'s; how a delivery is written, `streams.router.exits`'s.
"""

import asyncio
import gc
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from urllib.parse import quote

import msgspec

from notifier.attempt import Attempt, Counter, Counters, Origin
from notifier.catalog import Catalog, Configuration
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import delivery_id
from notifier.errors import RecordError, RecordTooLarge
from notifier.message import MAX_BYTES, Message, topic_id
from notifier.outcome import Reason
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DEAD_LETTERS
from notifier.user import User
from streams.definitions import Definitions
from streams.inputs.batch import Batch, Record
from streams.outputs.queue import MAX_RECORD_BYTES, Outbox, Outputs, Receipt
from streams.router.exits import Contact, Exit, Exits, Refusal, name_and_title, no_address, sender_text
from streams.router.matcher import Matcher, Path, Plan, Route

logger = logging.getLogger(__name__)

COUNT_EVERY_S = 1.0
NAMED_DROPS = 5  # in the detail of an attempt
SLICE = 500  # records that are judged before others get a turn
OPEN_BYTES = 32 * 1024 * 1024  # written and not acknowledged, before judging waits; one slice may go beyond it
_ERROR_CHARACTERS = 2_000  # of a dead letter's error, which may quote what the message says
_SENDERS = 20_000  # whose texts are remembered
# What needs neither percent-encoding in an id nor escaping in JSON; see `urllib.parse.quote`.
_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~"

_COUNTERS = 2_000  # in one record, which then has 100 KiB and took milliseconds
_TOLD = 1_000  # ways to be dropped that are remembered, for each producer
_read = msgspec.json.Decoder(Message).decode

Dropped = tuple[Route, str | None, Reason]  # by which filter; none: it was no filter's doing
Told = tuple[bytes, bytes, bytes, bytes]  # see `_told`


class Router:
    """Routes batches of records of `messages`. `await start()` loads the definitions; only then may it be given any."""

    def __init__(self, settings: Settings, definitions: Definitions, outputs: Outputs | None = None) -> None:
        self._definitions = definitions
        self._outputs = outputs or Outputs(settings)
        self._attempts = self._outputs.outlet(ATTEMPTS.name)
        self._dead_letters = self._outputs.outlet(DEAD_LETTERS.name)
        self._worker = f"router-{socket.gethostname()}-{os.getpid()}"
        self._counts = _no_counts()
        self._counting: asyncio.Task[None] | None = None
        self._matcher = Matcher(definitions.catalog)
        self._exits = Exits(definitions.catalog, self._outputs.outlet)
        self._senders: dict[str, bytes] = {}  # as a delivery has them
        self._open_bytes = 0
        self._room = asyncio.Event()
        self._made = 0  # bytes of deliveries of the slice at work

    async def start(self) -> None:
        """Waits until the definitions are read. Raises what makes them unreadable for good, for instance a newer version."""
        await self._definitions.load()
        self._definitions.on_change(self._use)
        self._counting = asyncio.create_task(self._count(), name="counters")
        # What is there now stays, so Python's collector need not look at it again and again. It comes for the rest when
        # 10,000 objects more are there than were given back. Measured with 10,000 configurations: 188 MiB and 7.9 µs a message;
        # with 20,000 objects 220 MiB and 7.8 µs; with 300,000 slower too, as what Faust leaves behind lay between what is used.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 5, 5)

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

    async def accept(self, batch: Batch, finished: Callable[[], None]) -> None:
        """Judges the records of one partition, in order; returns when the next batch may come.

        `finished` is called when all that came of this one is acknowledged.
        """
        whole = Receipt(1, finished)
        records = batch.records
        for start in range(0, len(records), SLICE):
            size = self.judge(batch, records if len(records) <= SLICE else records[start : start + SLICE])
            whole.open += 1
            self._open_bytes += size
            self._outputs.seal(self._acknowledged(size, whole))
            self._matcher.tidy()
            while self._open_bytes >= OPEN_BYTES:
                self._room.clear()
                await self._room.wait()
            await asyncio.sleep(0)
        whole.settle()

    def _acknowledged(self, size: int, whole: Receipt) -> Callable[[], None]:
        def acknowledged() -> None:
            self._open_bytes -= size
            self._room.set()
            whole.settle()

        return acknowledged

    def judge(self, batch: Batch, records: Sequence[Record]) -> int:
        """Puts what the records give rise to, by the definitions of this moment, into the outlets. Answers its bytes.

        What every message goes through is written out here, since a call costs more than most of these lines.
        """
        at = now()
        self._made = 0
        find = self._matcher.path
        for record in records:
            value = record.value
            try:
                if value is None:
                    raise RecordError("the record has no value; write a message as a JSON object")
                if len(value) > MAX_BYTES:
                    raise RecordTooLarge(f"a message has at most {MAX_BYTES} bytes; this one has {len(value)}")
                message = _read(value) if value.isascii() else Message.decode(value)
                if message.v != Message.VERSION:
                    Message.decode(value)  # raises, with the words for it
                message_id = message.id or topic_id(batch.partition, record.offset, record.timestamp)
                plan, path = find(message)
                receiver = path.receiver
                if receiver is None:
                    if path.problem is None:
                        self._route_to_all(batch, record, value, message, message_id, at, plan, path)
                    else:
                        self._tell_problem(batch, record, message, message_id, at, *path.problem)
                    continue
                name = message.sender
                sender = None
                if name is not None:
                    sender = plan.senders[name] if name in plan.senders else plan.sender(name)
                dropped: list[Dropped] | None = None
                nothing = True
                for route in path.routes:
                    try:
                        passed = route.test is None or route.test(route.argument, message)
                        for test, argument in route.tests if passed else ():
                            if not test(argument, message):
                                passed = False
                                break
                    except Exception:  # a plugin's fault; the route, asked below, logs it and says that it passes
                        passed = False
                    drop = None if passed else route.first_drop(route.asked, message, at, sender, receiver)
                    if drop is not None:
                        dropped = dropped or []
                        dropped.append((route, drop[0].name, drop[1]))
                        self._counts[drop[1]][route.configuration.name] += 1
                        continue
                    for exit_ in self._exits_of(route) if route.exits is None else route.exits:
                        nothing = False
                        contact = exit_.contacts.get(path.username) or exit_.to(receiver)
                        if isinstance(contact, str):
                            refused = no_address(route.configuration, exit_, receiver, contact)
                            self._refuse([refused], batch, record, message, message_id, at)
                        else:
                            self._deliver(
                                route, exit_, contact, batch, record, value, message, message_id, sender, plan
                            )
                    if route.lacking:
                        nothing = False
                        refusals = self._exits.refusals(route.configuration, receiver)
                        self._refuse(refusals, batch, record, message, message_id, at)
                if nothing:
                    self._tell_nothing(batch, record, message, message_id, at, plan, path, dropped or ())
            except msgspec.DecodeError:
                self._bury_unreadable(batch, record)
            except RecordError as error:
                self._bury(batch, record, error.reason, str(error))
            except Exception as error:  # a fault of ours or of a plugin must cost this record, not its partition
                logger.exception(
                    "The record %s/%s/%s cannot be routed.",
                    batch.topic,
                    batch.partition,
                    record.offset,
                    extra={"action": "route"},
                )
                self._bury(batch, record, "invalid", f"cannot be routed: {type(error).__name__}: {error}")
        return self._made

    # --- one record ---

    def _route_to_all(
        self,
        batch: Batch,
        record: Record,
        value: bytes,
        message: Message,
        message_id: str,
        at: datetime,
        plan: Plan,
        path: Path,
    ) -> None:
        sender = None if message.sender is None else plan.sender(message.sender)
        users = self._matcher.catalog.users
        dropped: list[Dropped] = []
        nothing = True
        for route in path.routes:
            usernames = route.configuration.spec.users
            recipients: list[User | None] = (
                [users[name] for name in usernames if name in users] if usernames else [None]
            )
            steps = route.asked_of_all
            if route.gone:
                steps = route.chain  # the index knows nothing of it
                dropped.extend((route, None, "unknown_receiver") for _ in route.gone)
            passed: list[User | None] = []
            for recipient in recipients:
                drop = route.first_drop(steps, message, at, sender, recipient) if steps else None
                if drop is None:
                    passed.append(recipient)
                else:
                    dropped.append((route, drop[0].name, drop[1]))
            for exit_, user, contact in self._to_all(route, passed) if passed else ():
                nothing = False
                if isinstance(contact, str):
                    refused = no_address(route.configuration, exit_, user, contact)
                    self._refuse([refused], batch, record, message, message_id, at)
                else:
                    self._deliver(route, exit_, contact, batch, record, value, message, message_id, sender, plan)
            if passed and route.lacking:
                nothing = False
                self._refuse(self._exits.refusals(route.configuration, None), batch, record, message, message_id, at)
        for route, _, reason in dropped:
            self._counts[reason][route.configuration.name] += 1
        if nothing:
            self._tell_nothing(batch, record, message, message_id, at, plan, path, dropped)

    def _exits_of(self, route: Route) -> tuple[Exit, ...]:
        exits: tuple[Exit, ...] | None = route.exits
        if exits is None:
            consumers = tuple(route.configuration.spec.consumers)
            exits = route.exits = self._exits.to(consumers)
            route.lacking = len(exits) < len(consumers)
            route.name, route.title = name_and_title(route.configuration)
        return exits

    def _to_all(self, route: Route, passed: Sequence[User | None]) -> Iterator[tuple[Exit, User | None, Contact | str]]:
        """How a message without receiver goes out to those for whom it passed; None for a configuration without users."""
        people = [user for user in passed if user is not None]
        for exit_ in self._exits_of(route):
            if exit_.key is not None or not people:
                yield exit_, None, exit_.to_everyone(tuple([user.username for user in people]))
            else:
                for user in people:
                    yield exit_, user, exit_.to(user)

    def _deliver(
        self,
        route: Route,
        exit_: Exit,
        contact: Contact,
        batch: Batch,
        record: Record,
        value: bytes,
        message: Message,
        message_id: str,
        sender: User | None,
        plan: Plan,
    ) -> None:
        source = plan.source
        if source is None:
            source = plan.source = b'{"id":"' + quote(plan.name, safe="").encode() + b"/"
        given = escaped = message_id.encode()
        if given.translate(None, _PLAIN):
            given = quote(message_id, safe="").encode()
            escaped = msgspec.json.encode(message_id)[1:-1]
        said = b""
        if message.sender is not None:
            said = (sender is not None and exit_.sender(sender)) or self._sender(message.sender)
        ending = (
            b"}" if message.not_before is None else b',"not_before":' + msgspec.json.encode(message.not_before) + b"}"
        )
        delivery = b"".join(
            (
                source, given, route.name, exit_.before, contact.recipient, route.title, exit_.between, contact.lane, value,
                b',"message_id":"', escaped, contact.opening, contact.name, contact.address, said, contact.receives,
                contact.receiver, contact.closing, ending,
            )
        )  # fmt: skip
        if len(delivery) > MAX_RECORD_BYTES:
            error = f"its delivery has {len(delivery)} bytes, and a record at most {MAX_RECORD_BYTES}"
            self._bury(batch, record, "too_large", error, delivery=msgspec.json.decode(delivery)["id"])
            return
        self._made += len(delivery)
        key, outlet = exit_.key, exit_.outlet
        if key is None:
            key = contact.key
        queue, text = outlet.by_key.get(key) or outlet.find(key)  # as `outlet.put`, of which there are many
        queue.append(text, delivery)
        self._outputs.touched.add(queue)

    def _sender(self, name: str) -> bytes:
        text = self._senders.get(name)
        if text is None:
            if len(self._senders) >= _SENDERS:
                self._senders.clear()
            text = self._senders[name] = sender_text(name)
        return text

    # --- what becomes of the others ---

    def _bury_unreadable(self, batch: Batch, record: Record) -> None:
        try:
            Message.decode(record.value or b"")  # says it in words
        except RecordError as error:
            self._bury(batch, record, error.reason, str(error))

    def _refuse(
        self,
        refusals: Sequence[Refusal],
        batch: Batch,
        record: Record,
        message: Message,
        message_id: str,
        at: datetime,
    ) -> None:
        for refusal in refusals:
            configuration = refusal.configuration
            self._suppress(
                batch,
                record,
                message,
                message_id,
                at,
                refusal.reason,
                refusal.detail,
                configuration=configuration.name,
                version=configuration.version,
                consumer=refusal.consumer,
                recipient=refusal.recipient,
                delivery=delivery_id(
                    message.producer, message_id, configuration.name, refusal.consumer, refusal.recipient
                ),
            )

    def _tell_problem(
        self,
        batch: Batch,
        record: Record,
        message: Message,
        message_id: str,
        at: datetime,
        problem: Reason,
        text: str,
    ) -> None:
        if problem in ("unknown_producer", "unknown_configuration"):
            self._bury(batch, record, problem, text, message=(message.producer, message_id))
        else:
            configuration = message.configuration if problem == "disabled" else None
            self._suppress(batch, record, message, message_id, at, problem, text, configuration=configuration)

    def _tell_nothing(
        self,
        batch: Batch,
        record: Record,
        message: Message,
        message_id: str,
        at: datetime,
        plan: Plan,
        path: Path,
        dropped: Sequence[Dropped],
    ) -> None:
        """The one attempt of a message that made no delivery.

        There may be many of them, so what is the same for all messages that the same filters drop is kept, and written around
        what is not, as a delivery is: byte for byte what `Attempt.encode` would give.
        """
        key = path.receiver is None, path.routes, *dropped
        told: dict[object, Told] = plan.told  # a change makes another plan
        known = None if plan.readers or message.configuration is not None else told.get(key)
        if known is None:
            reason, detail, only = self._why_nothing(message, plan, path, dropped)
            if len(told) >= _TOLD:
                told.clear()
            known = told[key] = _told(message, reason, detail, only)
        suffix, middle, about, rest = known
        given = escaped = message_id.encode()
        if given.translate(None, _PLAIN):
            given = quote(message_id, safe="").encode()
            escaped = msgspec.json.encode(message_id)[1:-1]
        delivery = b"".join((quote(plan.name, safe="").encode(), b"/", given, suffix))
        when = msgspec.json.encode(at)
        value = b"".join(
            (
                b'{"delivery":"', delivery, b'","producer":', msgspec.json.encode(plan.name), b',"message":"', escaped,
                middle, when, b',"ended_at":', when, about,
                b"" if path.receiver is None else b',"recipient":' + msgspec.json.encode(path.username),
                rest, msgspec.json.encode(batch.topic),
                b',"partition":%d,"offset":%d}}' % (batch.partition, record.offset),
            )
        )  # fmt: skip
        self._attempts.put(delivery, value)

    def _why_nothing(
        self, message: Message, plan: Plan, path: Path, dropped: Sequence[Dropped]
    ) -> tuple[Reason, str, Configuration | None]:
        """The reason, the detail, and the configuration if only one considered it."""
        first, count = self._matcher.considering(plan, message, NAMED_DROPS)
        if not count:
            if message.configuration is None:
                return (
                    "filtered",
                    f"no enabled configuration considers messages of the producer {message.producer}",
                    None,
                )
            text = f"the configuration {message.configuration} does not consider messages of {message.producer}"
            return "filtered", text, None
        only = first[0].configuration if count == 1 else None
        by_index = count - len(path.routes)
        reasons: set[Reason] = {reason for _, _, reason in dropped}
        if by_index:
            reasons.add("filtered")
        if not reasons:
            return "filtered", f"no consumer: {', '.join([route.configuration.name for route in first])}", only
        # What came further than the index says more, so it comes first.
        said: dict[Route, dict[str, None]] = {}
        for route, name, cause in dropped:
            said.setdefault(route, {})[_named(name, cause)] = None
        drops: list[str] = []
        named = 0
        for route, causes in said.items():
            if len(drops) < NAMED_DROPS:
                drops += [f"{route.configuration.name}: {cause}" for cause in causes]
                named += 1
        if by_index:
            for route in first:
                if len(drops) < NAMED_DROPS and route not in path.routes:
                    drops.append(self._matcher.drop_of_index(route, plan, path, message))
                    named += 1
        more = by_index + len(said) - named
        return (
            reasons.pop() if len(reasons) == 1 else "filtered",
            ", ".join(drops[:NAMED_DROPS]) + (f" and {more} more" if more > 0 else ""),
            only,
        )

    def _suppress(
        self,
        batch: Batch,
        record: Record,
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
    ) -> None:
        if delivery is None:
            parts = [message.producer, message_id] + ([] if configuration is None else [configuration])
            delivery = "/".join([quote(part, safe="") for part in parts])
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
            origin=Origin(topic=batch.topic, partition=batch.partition, offset=record.offset),
        )
        self._attempts.put(delivery.encode(), attempt.encode())

    def _bury(
        self,
        batch: Batch,
        record: Record,
        reason: Reason,
        error: str,
        delivery: str | None = None,
        message: tuple[str, str] | None = None,  # producer and id, where the record could be read
    ) -> None:
        letter = DeadLetter.of_record(
            Source(batch.topic, batch.partition, record.offset, record.timestamp, record.key, record.value),
            stage="route",
            reason=reason,
            error=error[:_ERROR_CHARACTERS],
            delivery=delivery,
        )
        if message is not None:
            producer, id_ = message
            letter = msgspec.structs.replace(letter, id=id_, producer=producer, message=id_)
        self._dead_letters.put(letter.id.encode(), letter.encode())

    # --- definitions and counters ---

    def _use(self, catalog: Catalog) -> None:
        self._take_tally()
        self._matcher.change(catalog)
        self._exits.change(catalog)

    def _take_tally(self) -> None:
        for part in self._matcher.tally():
            self._add(part)

    def _add(self, dropped: Mapping[str, int]) -> None:
        counts = self._counts["filtered"]
        for configuration, count in dropped.items():
            counts[configuration] += count

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            await self._send_counts()

    async def _send_counts(self) -> None:
        for part in self._matcher.tally():
            self._add(part)
            await asyncio.sleep(0)  # with many configurations each part takes milliseconds
        counts, self._counts = self._counts, _no_counts()
        outbox = Outbox()
        for reason, by_name in counts.items():
            left = iter(by_name.items())
            while some := [
                Counter(configuration=configuration, reason=reason, count=count)
                for configuration, count in islice(left, _COUNTERS)
            ]:
                record = Counters(worker=self._worker, at=now(), counters=tuple(some))
                outbox.add(ATTEMPTS.name, self._worker.encode(), record.encode())
                await asyncio.sleep(0)
        await self._outputs.send(outbox)


def _no_counts() -> defaultdict[Reason, defaultdict[str, int]]:
    """What is counted since the last record of counters: by reason, then by configuration."""
    return defaultdict(_no_numbers)


def _no_numbers() -> defaultdict[str, int]:
    return defaultdict(int)


def _told(message: Message, reason: Reason, detail: str, only: Configuration | None) -> Told:
    """What is the same in all attempts that say this: the end of the delivery's id, and three parts of the record."""
    encode = msgspec.json.encode
    name = message.configuration if only is None else only.name
    middle = b'","outcome":"suppressed","reason":' + encode(reason) + b',"started_at":'
    about = b',"number":1'
    if name is not None:
        about += b',"configuration":' + encode(name)
    if only is not None:
        about += b',"configuration_version":' + encode(only.version)
    rest = b',"detail":' + encode(detail) + b',"origin":{"topic":'
    return b"" if name is None else b"/" + quote(name, safe="").encode(), middle, about, rest


def _named(filter_: str | None, reason: Reason) -> str:
    """The filter that dropped, with the reason where that says more: `at-work (on_leave)`."""
    if filter_ is None or reason == "filtered":
        return filter_ or reason
    return f"{filter_} ({reason})"
