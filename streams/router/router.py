"""Router: from messages to deliveries, one batch of records at a time.

The records that were read of one partition at once are judged in order, each by one catalog. A batch is finished when all its
outputs are acknowledged: deliveries, suppressed attempts, dead letters. Until then the next batches are judged. At least once:
a batch that was not finished when the process died is routed again, under the same delivery ids. No record stops another:
one that cannot be routed becomes a dead letter.

    passed                          a delivery on `deliveries.<consumer>`, keyed by lane
    nobody gets it                  an attempt or a dead letter; see `streams.router.undelivered`
    every drop of a configuration   counted, and written once a second; see `streams.router.counters`

Which configurations want a message is left to `streams.router.matcher`; how a delivery is written, to `streams.router.exits`.
"""

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Iterator, Sequence

import msgspec

from filters.chain import FilterFailed
from notifier.catalog import Catalog
from notifier.errors import RecordError, RecordTooLarge
from notifier.message import MAX_BYTES, Message, topic_id, without_absent
from notifier.record import now
from notifier.settings import Settings
from notifier.user import User
from streams.definitions import Definitions
from streams.inputs.batch import Batch, PlainRecord, Record
from streams.outputs.outputs import MAX_RECORD_BYTES, Outputs
from streams.outputs.queue import Receipt
from streams.router.arrival import Arrival
from streams.router.counters import DropCounters
from streams.router.exits import PLAIN, Contact, Exit, Exits, id_parts, name_and_title, no_address, sender_text
from streams.router.matcher import Matcher
from streams.router.route import Route
from streams.router.undelivered import Dropped, Undelivered

SLICE = 500  # records that are judged before other tasks get a turn
OPEN_BYTES = 32 * 1024 * 1024  # written and not acknowledged, before judging waits; one slice may go beyond it
_SENDERS = 20_000  # names whose texts are remembered
_read = msgspec.json.Decoder(Message).decode


class Router:
    """Routes batches of records of `messages`. `await start()` loads the definitions; only then may it be given any."""

    def __init__(self, settings: Settings, definitions: Definitions, outputs: Outputs | None = None) -> None:
        self._definitions = definitions
        self._outputs = outputs or Outputs(settings)
        self._touched = self._outputs.touched
        self._matcher = Matcher(definitions.catalog)
        self._exits = Exits(definitions.catalog, self._outputs.outlet)
        self._undelivered = Undelivered(self._outputs, self._matcher)
        self._counters = DropCounters(self._outputs, self._matcher, f"router-{socket.gethostname()}-{os.getpid()}")
        self._senders: dict[str, bytes] = {}  # a sender's part of a delivery, by name
        self._open_bytes = 0
        self._room = asyncio.Event()  # `_open_bytes` has become less
        self._made = 0  # bytes of deliveries of the slice at work
        self._judged = 0  # slices, ever

    @property
    def worked(self) -> int:
        """How far it has come: grows with each slice that is judged and each batch of outputs that is acknowledged."""
        return self._judged + self._outputs.landed

    async def start(self) -> None:
        """Waits until the definitions are read. Raises what makes them unreadable for good, for instance a newer version."""
        await self._definitions.load()
        self._definitions.on_change(self._use)
        self._counters.start()
        # The garbage collector need not look at objects that are there now and stay. It runs when 10,000 more objects were made
        # than freed. Measured with 10,000 configurations: 188 MiB and 7.9 µs a message; with 20,000 objects 220 MiB and 7.8 µs;
        # with 300,000 slower too, as Faust's garbage then lies between the objects that are used.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 5, 5)

    async def stop(self) -> None:
        """Writes the last counters and closes the outputs."""
        await self._counters.stop()
        await self._outputs.stop()

    def _use(self, catalog: Catalog) -> None:
        self._counters.take_tally()
        self._matcher.change(catalog)
        self._exits.change(catalog)

    # --- a batch ---

    async def accept(self, batch: Batch, finished: Callable[[], None]) -> None:
        """Judges the records of one partition, in order; returns when the next batch may come.

        `finished` is called when all outputs of this batch are acknowledged.
        """
        whole = Receipt(1, finished)
        records = batch.records
        for start in range(0, len(records), SLICE):
            size = self.judge(batch, records if len(records) <= SLICE else records[start : start + SLICE])
            self._judged += 1
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
        """Puts the records' outputs into the outlets, by the definitions of this moment. Answers the bytes of the deliveries.

        What every message goes through is written out: with a method for one message the router took 6 % more processor time.
        """
        arrival, self._made = Arrival(batch, now()), 0
        find = self._matcher.path
        for record in records:
            value = record.value
            try:
                if value is None or len(value) > MAX_BYTES:
                    raise _unfit(value)
                message = _read(value) if value.isascii() else Message.decode(value)
                if message.v != Message.VERSION or message.not_before is not None or message.occurred_at is not None:
                    message = Message.decode(value)  # raises with the words for it, and bounds the times
                arrival.record, arrival.value, arrival.message = record, value, message
                arrival.message_id = message.id or topic_id(batch.partition, record.offset, record.timestamp)
                arrival.plan, arrival.path = plan, path = find(message)
                if (receiver := path.receiver) is None:
                    self._route_to_all(arrival)
                    continue
                name = message.sender
                sender = None if name is None else plan.senders[name] if name in plan.senders else plan.sender(name)
                dropped: list[Dropped] | None = None
                nothing = True
                for route in path.routes:
                    try:
                        passed = route.test is None or route.test(route.argument, message)
                        for test, argument in route.tests if passed else ():
                            if not test(argument, message):
                                passed = False
                                break
                    except Exception:  # a plugin's fault; the route, asked below, logs it
                        passed = False
                    if not passed:
                        try:
                            drop = route.first_drop(route.asked, message, arrival.at, sender, receiver)
                        except FilterFailed as failure:
                            nothing = False
                            self._undelivered.bury_for(arrival, route.configuration, failure)
                            continue
                        if drop is not None:
                            (dropped := dropped or []).append((route, drop[0].name, drop[1]))
                            self._counters.counts[drop[1]][route.configuration.name] += 1
                            continue
                    for exit_ in self._exits_of(route) if route.exits is None else route.exits:
                        nothing = False
                        contact = exit_.contacts.get(path.username) or exit_.to(receiver)
                        if isinstance(contact, str):
                            self._refuse(arrival, route, exit_, receiver, contact)
                        else:
                            self._deliver(arrival, route, exit_, contact, sender)
                    if route.lacking:
                        nothing = False
                        self._undelivered.refuse(arrival, self._exits.refusals(route.configuration, receiver))
                if nothing:
                    self._undelivered.tell_nothing(arrival, dropped or ())
            except Exception as error:  # a fault of ours or of a plugin must cost this record, not its partition
                self._judge_again_or_bury(batch, record, error)
        return self._made

    def _judge_again_or_bury(self, batch: Batch, record: Record, error: Exception) -> None:
        """Judges a message that does not fit once more without the fields written as absent. Any other is a dead letter."""
        misfit = isinstance(error, msgspec.ValidationError | RecordError) and record.value is not None
        value = without_absent(record.value or b"") if misfit else None
        if value is None or not _fits(value):
            self._undelivered.bury(batch, record, error)
            return
        made = self._made
        again = PlainRecord(record.offset, record.timestamp, record.key, value, ())
        self._made = made + self.judge(batch, [again])

    # --- a message ---

    def _route_to_all(self, arrival: Arrival) -> None:
        """Routes a message without a known receiver: to everyone in each configuration, or to nobody if there is a problem."""
        if arrival.path.problem is not None:
            self._undelivered.tell_problem(arrival, *arrival.path.problem)
            return
        message = arrival.message
        sender = None if message.sender is None else arrival.plan.sender(message.sender)
        dropped: list[Dropped] = []
        nothing = True
        for route in arrival.path.routes:
            steps = route.asked_of_all
            if route.missing_users:
                steps = route.chain  # the index knows nothing of these users
                dropped.extend((route, None, "unknown_receiver") for _ in route.missing_users)
            passed: list[User | None] = []
            failed: FilterFailed | None = None
            for recipient in self._recipients(route):
                try:
                    drop = route.first_drop(steps, message, arrival.at, sender, recipient) if steps else None
                except FilterFailed as failure:
                    failed = failed or failure.with_traceback(None)  # which refers to this frame
                    continue
                if drop is None:
                    passed.append(recipient)
                else:
                    dropped.append((route, drop[0].name, drop[1]))
            if failed is not None:  # then for nobody: a delivery to some would be the same as the one after a redrive
                nothing = False
                self._undelivered.bury_for(arrival, route.configuration, failed)
                continue
            for exit_, user, contact in self._to_all(route, passed) if passed else ():
                nothing = False
                if isinstance(contact, str):
                    self._refuse(arrival, route, exit_, user, contact)
                else:
                    self._deliver(arrival, route, exit_, contact, sender)
            if passed and route.lacking:
                nothing = False
                self._undelivered.refuse(arrival, self._exits.refusals(route.configuration, None))
        for route, _, reason in dropped:
            self._counters.counts[reason][route.configuration.name] += 1
        if nothing:
            self._undelivered.tell_nothing(arrival, dropped)

    def _refuse(self, arrival: Arrival, route: Route, exit_: Exit, user: User | None, detail: str) -> None:
        self._undelivered.refuse(arrival, [no_address(route.configuration, exit_, user, detail)])

    def _recipients(self, route: Route) -> list[User | None]:
        """The users of a configuration that are defined; None stands for everyone where it names none."""
        usernames, users = route.configuration.spec.users, self._matcher.catalog.users
        return [users[name] for name in usernames if name in users] if usernames else [None]

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

    # --- a delivery ---

    def _deliver(self, arrival: Arrival, route: Route, exit_: Exit, contact: Contact, sender: User | None) -> None:
        """Splices a delivery and puts it into its queue; see `streams.router.exits` for the parts."""
        message = arrival.message
        in_id = in_json = arrival.message_id.encode()  # as `id_parts`, without the call
        if in_id.translate(None, PLAIN):
            in_id, in_json = id_parts(arrival.message_id)
        said = b""
        if message.sender is not None:
            said = (sender is not None and exit_.sender(sender)) or self._sender(message.sender)
        ending = (
            b"}" if message.not_before is None else b',"not_before":' + msgspec.json.encode(message.not_before) + b"}"
        )
        delivery = b"".join(
            (
                arrival.plan.source, in_id, route.name, exit_.before, contact.recipient, route.title, exit_.between, contact.lane,
                arrival.value, b',"message_id":"', in_json, contact.opening, contact.name, contact.address, said,
                contact.receives, contact.receiver, contact.closing, ending,
            )
        )  # fmt: skip
        if len(delivery) > MAX_RECORD_BYTES:
            error = f"its delivery has {len(delivery)} bytes, and a record at most {MAX_RECORD_BYTES}"
            self._undelivered.bury_delivery(arrival, msgspec.json.decode(delivery)["id"], error)
            return
        self._made += len(delivery)
        key, outlet = exit_.key, exit_.outlet
        if key is None:
            key = contact.key
        # As `Outlet.put`, without the call.
        queue, framed_key = outlet.by_key.get(key) or outlet.find(key)
        queue.append(framed_key, delivery)
        self._touched.add(queue)

    def _sender(self, name: str) -> bytes:
        text = self._senders.get(name)
        if text is None:
            if len(self._senders) >= _SENDERS:
                self._senders.clear()
            text = self._senders[name] = sender_text(name)
        return text


def _fits(value: bytes) -> bool:
    try:
        Message.decode(value)
    except RecordError:
        return False
    return True


def _unfit(value: bytes | None) -> RecordError:
    """Why a record cannot be a message."""
    if value is None:
        return RecordError("the record has no value; write a message as a JSON object")
    return RecordTooLarge(f"a message has at most {MAX_BYTES} bytes; this one has {len(value)}")
