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
from time import monotonic

import msgspec

from filters.chain import FilterFailed
from notifier.catalog import Catalog
from notifier.errors import RecordError
from notifier.message import MAX_BYTES, Message, check_value, topic_id, without_absent
from notifier.record import now
from notifier.settings import Settings
from notifier.user import User
from streams.definitions import Definitions
from streams.inputs.batch import Batch, PlainRecord, Record
from streams.outputs.outputs import Outputs
from streams.outputs.queue import Receipt
from streams.router.arrival import Arrival
from streams.router.counters import DropCounters
from streams.router.deliveries import MANY, SLICE_BYTES, Deliveries
from streams.router.exits import PLAIN, id_parts
from streams.router.matcher import Matcher
from streams.router.person import Members, Person, places
from streams.router.route import Route, Step, name_of
from streams.router.undelivered import Dropped, Undelivered

SLICE = 500  # records that are judged before other tasks get a turn
SLICE_S = 0.02  # likewise
OPEN_BYTES = 16 * 1024 * 1024  # written and not acknowledged, before judging waits; one slice may go beyond it
_read = msgspec.json.Decoder(Message).decode
_VERSION = Message.VERSION


class Router:
    """Routes batches of records of `messages`. `await start()` loads the definitions; only then may it be given any."""

    def __init__(self, settings: Settings, definitions: Definitions, outputs: Outputs | None = None) -> None:
        self._definitions = definitions
        self._outputs = outputs or Outputs(settings)
        self._matcher = Matcher(definitions.catalog)
        self._undelivered = Undelivered(self._outputs, self._matcher)
        self._deliveries = Deliveries(definitions.catalog, self._outputs, self._matcher, self._undelivered)
        self._counters = DropCounters(self._outputs, self._matcher, f"router-{socket.gethostname()}-{os.getpid()}")
        self._open_bytes = 0
        self._room = asyncio.Event()  # `_open_bytes` has become less
        self._judged = 0  # slices, ever
        self._until = 0.0  # when other tasks should have a turn, on the monotonic clock
        self._in_message = False  # whether other tasks have a turn within a message, which is judged by one catalog
        self._next: Catalog | None = None  # that came meanwhile

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
        if self._in_message:
            self._next = catalog
            return
        self._counters.take_tally()
        self._matcher.change(catalog)
        self._deliveries.change(catalog)

    # --- a batch ---

    async def accept(self, batch: Batch, finished: Callable[[], None]) -> None:
        """Judges the records of one partition, in order; returns when the next batch may come.

        `finished` is called when all outputs of this batch are acknowledged.
        """
        whole = Receipt(1, finished)
        for size in self.judge(batch, batch.records):
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

    def judge(self, batch: Batch, records: Sequence[Record]) -> Iterator[int]:
        """Puts the records' outputs into the outlets, each record by the definitions of that moment.

        Gives the bytes of the deliveries since the last time whenever other tasks should have a turn, and at the end.
        """
        for start in range(0, len(records), SLICE):
            yield from self._judge_slice(batch, records if len(records) <= SLICE else records[start : start + SLICE])
            yield self._end_slice()

    def _end_slice(self) -> int:
        self._undelivered.flush()
        made = self._deliveries.made + self._undelivered.made
        self._deliveries.made = self._undelivered.made = 0
        return made

    def _is_due(self) -> bool:
        """Whether other tasks should have a turn."""
        return self._deliveries.made + self._undelivered.made >= SLICE_BYTES or monotonic() >= self._until

    def _begin_slice(self, arrival: Arrival) -> None:
        arrival.begin(now())
        self._until = monotonic() + SLICE_S

    def _judge_slice(self, batch: Batch, records: Sequence[Record]) -> Iterator[int]:
        """Judges some records. What every message goes through is written out: a method for one message took 6 % more."""
        arrival, matcher, deliveries = Arrival(batch), self._matcher, self._deliveries
        self._begin_slice(arrival)
        for record in records:
            if deliveries.made >= SLICE_BYTES or monotonic() >= self._until:
                yield self._end_slice()
                self._begin_slice(arrival)
            value = record.value
            try:
                if value is None or len(value) > MAX_BYTES:
                    value = check_value(value)
                message = _read(value) if value.isascii() else Message.decode(value)
                if message.v != _VERSION or not (
                    message.not_before is message.expires_at is message.occurred_at is None
                ):
                    message = Message.decode(value)  # raises with the words for it, and bounds the times
                arrival.record, arrival.value, arrival.message = record, value, message
                arrival.message_id = name = message.id or topic_id(batch.partition, record.offset, record.timestamp)
                arrival.in_id = arrival.in_json = name.encode()  # as `id_parts`, without the call
                if arrival.in_id.translate(None, PLAIN):
                    arrival.in_id, arrival.in_json = id_parts(name)
                arrival.plan = plan = matcher.plans.get(message.producer) or matcher.plan(message.producer)
                if plan.mappings:
                    message = arrival.apply(plan.mappings)
                person = plan.people.get(message.receiver)  # type: ignore[arg-type]  # nobody is None
                if person is None or person.asks or plan.asks or message.configuration is not None:
                    person, routes = matcher.find(plan, message)
                    if person is None or person.user is None or len(routes) > MANY:
                        yield from self._in_turns(arrival, self._route_long(arrival, person, routes))
                        continue
                    chosen: Sequence[int] = range(len(routes))
                else:
                    routes = person.routes or ()
                    chosen = places[person.masks[plan.number]]
                    plan.for_one += 1
                for place in chosen:  # at once, since a plugin may raise
                    routes[place].hits += 1
                dropped: list[Dropped] | None = None
                nothing = True
                for place in chosen:
                    route = routes[place]
                    try:
                        passed = route.test is None or route.test(route.argument, message)
                        if passed and route.tests:
                            for test, argument in route.tests:
                                if not test(argument, message):
                                    passed = False
                                    break
                    except Exception:  # a plugin's fault; the route, asked below, logs it
                        passed = False
                    if not passed and (drop := self._first_drop(arrival, route, person)) is not None:
                        dropped, nothing = [*(dropped or ()), *drop], nothing and bool(drop)
                        continue
                    nothing = not deliveries.to_one(arrival, route, person) and nothing
                if nothing:
                    arrival.person, arrival.routes, arrival.remained = person, routes, len(chosen)
                    self._undelivered.tell_nothing(arrival, dropped or ())
            except Exception as error:  # a fault of ours or of a plugin must cost this record, not its partition
                yield from self._judge_again_or_bury(batch, record, error)

    def _judge_again_or_bury(self, batch: Batch, record: Record, error: Exception) -> Iterator[int]:
        """Judges a message that does not fit once more without the fields written as absent. Any other is a dead letter."""
        misfit = isinstance(error, msgspec.ValidationError | RecordError) and record.value is not None
        value = without_absent(record.value or b"") if misfit else None
        if value is None or not _fits(value):
            self._undelivered.bury(batch, record, error)
            return
        yield from self._judge_slice(batch, [PlainRecord(record.offset, record.timestamp, record.key, value, ())])

    # --- a message ---

    def _first_drop(self, arrival: Arrival, route: Route, person: Person) -> Sequence[Dropped] | None:
        """The first filter that drops a message for its receiver, counted; none where one fails, and None where all pass."""
        sender = self._deliveries.sender(arrival)
        user = None if sender is None else sender.user
        try:
            drop = route.first_drop(route.asked, arrival.message, arrival.at, user, person.user)
        except FilterFailed as failure:
            self._undelivered.bury_for(arrival, route.configuration, failure)
            return ()
        if drop is None:
            return None
        self._counters.counts[drop[1]][route.configuration.name] += 1
        return ((route, *drop),)

    def _in_turns(self, arrival: Arrival, work: Iterator[None]) -> Iterator[int]:
        """Routes one message, which may take long, by one catalog; gives turns meanwhile."""
        self._in_message = True
        try:
            for _ in work:
                if self._is_due():
                    yield self._end_slice()
                    self._until = monotonic() + SLICE_S
        finally:
            self._in_message = False
            if self._next is not None:
                catalog, self._next = self._next, None
                self._use(catalog)
        arrival.begin(now())  # of the messages behind it

    def _route_long(self, arrival: Arrival, person: Person | None, routes: Sequence[Route]) -> Iterator[None]:
        """Routes a message for everyone, for a group, for nobody who is known, or for one by many configurations."""
        arrival.person, arrival.routes, arrival.remained = person, routes, len(routes)
        if person is None:
            yield from self._route_to_all(arrival, routes)
        elif isinstance(person, Members):
            yield from self._route_to_group(arrival, person)
        elif person.problem is not None:
            self._undelivered.tell_problem(arrival, *person.problem)
        else:
            yield from self._route_by_many(arrival, person, routes)

    def _route_by_many(self, arrival: Arrival, person: Person, routes: Sequence[Route]) -> Iterator[None]:
        """Routes a message for one receiver by many configurations, as `_judge_slice` does by few."""
        for route in routes:
            route.hits += 1
        dropped: list[Dropped] = []
        nothing = True
        for count, route in enumerate(routes, start=1):
            drop = self._first_drop(arrival, route, person)
            if drop is not None:
                dropped += drop
                nothing = nothing and bool(drop)
            elif self._deliveries.to_one(arrival, route, person):
                nothing = False
            if count % MANY == 0 or self._deliveries.made >= SLICE_BYTES:
                yield
        if nothing:
            self._undelivered.tell_nothing(arrival, dropped)

    def _route_to_all(self, arrival: Arrival, routes: Sequence[Route]) -> Iterator[None]:
        """Routes a message that names no receiver: to everyone in each configuration."""
        for route in routes:  # at once, since counts may be taken while other tasks have a turn
            route.hits_of_all += 1
        dropped: list[Dropped] = []
        nothing = True
        for route in routes:
            dropped.extend((route, None, "unknown_receiver") for _ in route.missing_users)
            passed: list[User | None] = []
            failure: FilterFailed | None = None
            recipients = self._recipients(route)
            for start in range(0, len(recipients), MANY):
                # The index knows nothing of missing users.
                steps = route.chain if route.missing_users else route.asked_of_all
                some = recipients[start : start + MANY]
                failed = self._ask(arrival, route, steps, some, passed, dropped)
                failure = failure or failed
                yield
            if failure is not None:  # then for nobody: a delivery to some would be the same as the one after a redrive
                nothing = False
                self._undelivered.bury_for(arrival, route.configuration, failure)
                continue
            if passed and route.configuration.spec.consumers:
                nothing = False
                yield from self._deliveries.to_all(arrival, route, passed)
        for route, _, reason in dropped:
            self._counters.counts[reason][route.configuration.name] += 1
        if nothing:
            self._undelivered.tell_nothing(arrival, dropped)

    def _route_to_group(self, arrival: Arrival, group: Members) -> Iterator[None]:
        """Routes a message for a group: to each member as to a receiver. A configuration that fails for one tells none."""
        remaining: dict[Route, list[User]] = {}
        for count, user in enumerate(group.users, start=1):
            for route in self._matcher.find_for(arrival.plan, arrival.message, self._matcher.person_of(user)):
                route.hits += 1
                remaining.setdefault(route, []).append(user)
            if count % MANY == 0:
                yield
        dropped: list[Dropped] = []
        nothing = True
        for route in sorted(remaining, key=name_of):
            passed: list[User | None] = []
            failure: FilterFailed | None = None
            for start in range(0, len(remaining[route]), MANY):
                some = remaining[route][start : start + MANY]
                failed = self._ask(arrival, route, route.asked, some, passed, dropped)
                failure = failure or failed
                yield
            if failure is not None:
                nothing = False
                self._undelivered.bury_for(arrival, route.configuration, failure)
                continue
            for count, recipient in enumerate(passed, start=1):
                assert recipient is not None
                if self._deliveries.to_one(arrival, route, self._matcher.person_of(recipient)):
                    nothing = False
                if count % MANY == 0 or self._deliveries.made >= SLICE_BYTES:
                    yield
        for route, _, reason in dropped:
            self._counters.counts[reason][route.configuration.name] += 1
        if nothing:
            self._undelivered.tell_nothing_to(group, arrival, remaining, dropped)

    def _ask(
        self,
        arrival: Arrival,
        route: Route,
        steps: Sequence[Step],
        recipients: Sequence[User | None],
        passed: list[User | None],
        dropped: list[Dropped],
    ) -> FilterFailed | None:
        """Asks filters about some recipients of a message for many. Answers the first failure."""
        if not steps:
            passed += recipients
            return None
        known = self._deliveries.sender(arrival)
        sender = None if known is None else known.user
        failed: FilterFailed | None = None
        for recipient in recipients:
            try:
                drop = route.first_drop(steps, arrival.message, arrival.at, sender, recipient)
            except FilterFailed as failure:
                failed = failed or failure.with_traceback(None)  # which refers to this frame
                continue
            if drop is None:
                passed.append(recipient)
            else:
                dropped.append((route, *drop))
        return failed

    def _recipients(self, route: Route) -> list[User | None]:
        """The users of a configuration that are defined; None stands for everyone where it names none."""
        usernames, users = route.configuration.usernames, self._matcher.catalog.users
        return [users[name] for name in usernames if name in users] if usernames else [None]


def _fits(value: bytes) -> bool:
    try:
        Message.decode(value)
    except RecordError:
        return False
    return True
