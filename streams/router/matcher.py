"""Matching: the compiled form of all configurations. It decides as `filters.decision` does, at a cost that does not grow with
their number.

    message ─► path: its receiver, and the routes that remain ─► steps of each

What filters look up (`Filter.lookup`) is in the index (`index.py`). A **path** is what the index says about one receiver;
which path a message takes is kept by producer, receiver and the values of the fields that are looked up, so the index is
asked once for all such messages. The filters that cannot be looked up are the **steps** of a route, asked in the
configuration's order, of the routes that remain.

Looked up are only filters that drop with the reason `filtered`, and only in front of the first one that has other reasons, so
that what is recorded is what the chain would have said. Which of several filters that drop is named may differ.

A change compiles what it changed and nothing else; paths are found again when they are needed.

With ten thousand configurations the time goes into waiting for memory, so what a message meets is small and little of it: no
object twice that two can share, and none that Python's collector would have to look at.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from heapq import nsmallest
from typing import Any

import msgspec

from filters.chain import ask, reason_of
from filters.decision import missing
from notifier.catalog import Catalog, Configuration
from notifier.identity import Ambiguous
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter, Lookup, Producer
from notifier.user import User
from streams.router.index import NOTHING_NAMED, Asked, Field, Index, Value, slots_of

logger = logging.getLogger(__name__)

MAX_PATHS = 150_000  # of which it is kept which messages take them; about 80 bytes each
MAX_ALONE = 10_000  # the same of messages for one configuration, for each producer
MAX_SENDERS = 50_000  # whose users are remembered, for each world
_BURY = 2_000  # forgotten paths that are freed at a time, so that freeing many stops nobody
LABELS = "labels."

Test = Callable[[Any, Message], bool]


class Step:
    """A filter that is asked, compiled as far as it says how; one for all routes that use the filter."""

    __slots__ = ("_states", "_timed", "filter", "name", "reason", "test")

    def __init__(self, name: str, filter_: Filter[Any]) -> None:
        self.name = name
        self.filter = filter_
        # Whether it passes, where the message alone decides: a function and its first argument; may raise. None: it has to
        # be asked.
        self.test = _test_of(name, filter_)
        # Why it drops, where that is always the same; None: it has to be asked.
        self.reason: Reason | None = filter_.reason if type(filter_).reason_for is Filter.reason_for else None
        self._timed = True  # until it says otherwise
        # By username, where receiver and time alone decide: the user, why it drops (None: it passes), and until when.
        self._states: dict[str | None, tuple[User | None, Reason | None, datetime]] | None = None  # none yet

    def drops(
        self, message: Message, users: frozenset[str], at: datetime, sender: User | None, receiver: User | None
    ) -> Reason | None:
        """Why it drops a message for one receiver; None where it passes. Does not raise."""
        name = None if receiver is None else receiver.username
        state = None if self._states is None else self._states.get(name)
        if state is not None and state[0] is receiver and at < state[2]:
            return state[1]
        candidate = Candidate(message=message, users=users, at=at, sender=sender, receiver=receiver)
        reason = None if ask(self.name, self.filter, candidate) else reason_of(self.name, self.filter, candidate)
        if self._timed:
            try:
                until = self.filter.holds_until(candidate)
            except Exception:  # a plugin's fault costs speed, and no message
                logger.exception(
                    "The filter %s does not say how long it holds and is asked every time.",
                    self.name,
                    extra={"action": "filter", "filter": self.name},
                )
                until = None
            if until is None:
                self._timed = False
            else:
                if self._states is None:
                    self._states = {}
                self._states[name] = receiver, reason, until
        return reason


def _unknown(argument: None, message: Message) -> bool:
    """The test of a step that the message alone does not decide: the step has to be asked."""
    return False


_UNKNOWN: tuple[Test, Any] = _unknown, None


class Route(msgspec.Struct, gc=False, eq=False, kw_only=True):  # there may be many, and none is in a circle
    """A configuration that is enabled, compiled."""

    test: Test | None  # of the first one of `asked`; none: all pass
    argument: Any  # its first
    tests: tuple[tuple[Test, Any], ...]  # of the others
    exits: Any = None  # what the router makes of its consumers
    name: bytes = b""  # what it makes of its name, for ids
    title: bytes = b""  # and for all else
    lacking: bool = False  # whether some consumers cannot be used
    hits: int = 0  # messages for one receiver that the index did not drop, since `Matcher.tally`
    hits_of_all: int = 0  # the same without receiver
    configuration: Configuration
    chain: tuple[Step, ...]  # all its filters
    lookups: tuple[tuple[Step, str, Collection[str | None]], ...]  # with fields and values
    asked: tuple[Step, ...]  # those that are not looked up
    # Of a message without receiver every user of the configuration is a receiver, which the index knows nothing of.
    asked_of_all: tuple[Step, ...]
    gone: tuple[str, ...] = ()  # its users whose definitions cannot be used
    slot: int = -1

    @classmethod
    def of(cls, configuration: Configuration, chain: Sequence[Step]) -> "Route":
        """Compiles one."""
        looked_up = _lookups(configuration, chain)
        asked = tuple([step for step in chain if step not in looked_up])
        of_all = tuple([step for step in chain if step not in looked_up or looked_up[step].field == "receiver"])
        tests = [step.test or _UNKNOWN for step in asked]
        return cls(
            test=tests[0][0] if tests else None,
            argument=tests[0][1] if tests else None,
            tests=tuple(tests[1:]),
            configuration=configuration,
            chain=of_all if len(of_all) == len(chain) else tuple(chain),
            lookups=tuple([(step, lookup.field, _small(lookup.values)) for step, lookup in looked_up.items()]),
            asked=asked,
            asked_of_all=of_all,
        )

    def first_drop(
        self,
        steps: Sequence[Step],
        message: Message,
        at: datetime,
        sender: User | None,
        receiver: User | None,
    ) -> tuple[Step, Reason] | None:
        """The first of these steps that drops a message for a receiver, and why; None where all pass."""
        for step in steps:
            if step.test is not None:
                test, argument = step.test
                try:
                    if test(argument, message):
                        continue
                    if step.reason is not None:
                        return step, step.reason
                except Exception:  # noqa: S110 - the plain way, below, logs it and says that it passes
                    pass
            reason = step.drops(message, self.configuration.users, at, sender, receiver)
            if reason is not None:
                return step, reason
        return None

    def looked_up(self) -> list[Asked]:
        """What the index is given."""
        return [(field, values, step.filter.parameters.negate) for step, field, values in self.lookups]


class Path(msgspec.Struct, gc=False, eq=False):
    """What the index says about messages for one receiver, or for everyone."""

    routes: tuple[Route, ...] = ()  # that it does not drop, in order of their names
    receiver: User | None = None  # none: the message names none, or nobody who is known
    username: str = ""  # the receiver's
    problem: tuple[Reason, str] | None = None  # why nobody considers it, also in words


class Kept:
    """What is kept for all producers of one world with the same configurations."""

    __slots__ = ("members", "paths", "routes", "usual")

    def __init__(self, slots: int, receivers: Field | None) -> None:
        self.usual = slots if receivers is None else slots & receivers.usually  # those that take any receiver
        self.members = frozenset(() if self.usual else slots_of(slots))
        self.paths: dict[Any, Path] = {}  # by what messages have in common
        self.routes: dict[tuple[Route, ...], tuple[Route, ...]] = {}  # of all paths


class Considered:
    """Messages that the same configurations considered, since `Matcher.tally`."""

    __slots__ = ("for_all", "for_one", "routes")

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = [(route.configuration.name, route) for route in routes]
        self.for_one = 0
        self.for_all = 0  # without receiver

    def dropped(self) -> dict[str, int]:
        """What did not hit a route, by its configuration, and begins anew.

        There may be many routes, every second: nothing is made that Python's collector would have to look at. A hit may be
        another one's that has the route too; what is too much is left for that one.
        """
        for_one, for_all = self.for_one, self.for_all
        self.for_one = self.for_all = 0
        found: dict[str, int] = {}
        for name, route in self.routes:
            count = for_one - route.hits
            if count < 0:
                route.hits, count = -count, 0
            elif route.hits:
                route.hits = 0
            if for_all:
                missed = for_all - route.hits_of_all
                route.hits_of_all = max(0, -missed)
                count += max(0, missed) * (len(route.configuration.spec.users) or 1)
            if count:
                found[name] = count
        return found


class Plan:
    """A producer's part: its people, which configurations take its messages, and which fields are looked up for them."""

    __slots__ = (
        "alone", "considered", "count", "drops", "first", "kept", "name", "names", "paths", "readers", "senders", "slots",
        "source", "told", "world",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        world: str,
        names: dict[str, User | Ambiguous],
        senders: dict[str, User | None],
        slots: int,
        kept: Kept,
        considered: Considered,
    ) -> None:
        self.name = name
        self.world = world  # of its people
        self.names = names
        self.senders = senders  # by what messages call them; of all producers of its world
        self.slots = slots  # of the configurations that take its messages
        self.count = slots.bit_count()
        self.first: tuple[Route, ...] | None = None  # of those, in order of their names
        self.readers: tuple[tuple[str, Field], ...] = ()  # of the fields besides the receiver
        self.kept = kept
        self.paths = kept.paths
        self.alone: dict[Any, Path] = {}  # the same, of messages that only one configuration may consider
        self.source: Any = None  # what the router makes of its name
        self.told: dict[Any, Any] = {}  # and of messages that it does not deliver
        self.drops: dict[Route, str] = {}  # of `Matcher.drop_of_index`
        self.considered = considered  # of all producers with the same configurations

    def sender(self, name: str) -> User | None:
        """The user who sent it, where that is one."""
        try:
            return self.senders[name]
        except KeyError:
            if len(self.senders) >= MAX_SENDERS:
                self.senders.clear()
            known = self.names.get(name.casefold())
            user = self.senders[name] = known if isinstance(known, User) else None
            return user

    def values(self, field: str, message: Message) -> tuple[Value, ...]:
        """What a message has in a field that is looked up."""
        if field == "severity":
            return (message.severity,)
        if field == "sender":
            if message.sender is None:
                return (None,)
            user = self.sender(message.sender)
            given = message.sender.casefold()
            return (given,) if user is None else (given, user.username.casefold())
        return (message.labels.get(field.removeprefix(LABELS), ""),)

    def key(self, message: Message) -> tuple[Any, ...]:
        """What messages on the same path have in common. Values that no filter names are one."""
        parts: list[Any] = [message.receiver]
        for field, index in self.readers:
            known = index.values
            if field == "severity":
                value: Value = message.severity
                parts.append(value if value in known else NOTHING_NAMED)
            else:
                parts.append(tuple([value for value in self.values(field, message) if value in known]))
        return tuple(parts)


class Matcher:
    """Decides about messages by a catalog that may change. Waits for nothing and does not raise."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = Catalog(registry=catalog.registry)
        self._index = Index()
        self._steps: dict[str, Step] = {}
        self._routes: dict[str, Route] = {}
        self._slots: dict[int, Route] = {}
        self._gone = 0  # slots of routes with users whose definitions cannot be used
        self._plans: dict[str, Plan] = {}
        self._keyed: dict[tuple[str, int], Kept] = {}  # by world and slots
        self._considered: dict[int, Considered] = {}  # by slots
        self._kept = 0  # entries of the plans' `paths`
        self._senders: dict[str, dict[str, User | None]] = {}  # by world
        self._alone: Counter[str] = Counter()  # what the index dropped of messages for one configuration, by its name
        self._forgotten: list[dict[Any, Any]] = []
        self.change(catalog)

    # --- asking ---

    def path(self, message: Message) -> tuple[Plan, Path]:
        """The path of a message, with its producer's plan; counts it."""
        plan = self._plans.get(message.producer)
        if plan is None:
            plan = self._plan(message.producer)
        key: Any = plan.key(message) if plan.readers else message.receiver
        if message.configuration is None:
            path = plan.paths.get(key)
        else:
            key = (key, message.configuration)
            path = plan.alone.get(key)
        if path is None:
            path = self._find(plan, message)
            self._keep(plan, message, key, path)
        if path.problem is None:
            if message.configuration is not None:
                self._count_alone(message, path)
            elif path.receiver is None:
                plan.considered.for_all += 1
                for route in path.routes:
                    route.hits_of_all += 1
            else:
                plan.considered.for_one += 1
                for route in path.routes:
                    route.hits += 1
        return plan, path

    def _count_alone(self, message: Message, path: Path) -> None:
        """Of a message that only one configuration considers."""
        name = message.configuration or ""
        route = self._routes.get(name)
        if route is not None and route not in path.routes and message.producer in route.configuration.spec.producers:
            self._alone[name] += 1 if path.receiver is not None else len(route.configuration.spec.users) or 1

    def _keep(self, plan: Plan, message: Message, key: Any, path: Path) -> None:
        if message.configuration is not None:
            if len(plan.alone) < MAX_ALONE:
                plan.alone[key] = path
            return
        if self._kept >= MAX_PATHS:
            self._forget_paths()
        if key == path.username:
            key = path.username  # which is there already
        plan.paths[key] = path
        self._kept += 1

    def considering(self, plan: Plan, message: Message, most: int) -> tuple[Sequence[Route], int]:
        """The first configurations by name that consider a message, `most` at most, and how many there are in all."""
        if message.configuration is not None:
            route = self._routes.get(message.configuration)
            if route is None or message.producer not in route.configuration.spec.producers:
                return [], 0
            return [route], 1
        if plan.first is None:
            routes = (self._slots[slot] for slot in slots_of(plan.slots))
            plan.first = tuple(nsmallest(most, routes, key=_name_of))
        return plan.first, plan.count

    def drop_of_index(self, route: Route, plan: Plan, path: Path, message: Message) -> str:
        """Configuration and filter, where a filter in the index drops a message which is on that path: `cfg: receiver-exists`."""
        if path.receiver is not None and not plan.readers:  # then it can only be the one that looks the receiver up
            text = plan.drops.get(route)
            if text is None:
                text = plan.drops[route] = self._drop_of_index(route, plan, path, message)
            return text
        return self._drop_of_index(route, plan, path, message)

    def _drop_of_index(self, route: Route, plan: Plan, path: Path, message: Message) -> str:
        for step, field, accepted in route.lookups:
            values: Iterable[Value]
            if field == "receiver":
                if path.receiver is None:
                    continue
                values = (path.username,)
            else:
                values = plan.values(field, message)
            if any(value in accepted for value in values) is step.filter.parameters.negate:
                return f"{route.configuration.name}: {step.name}"
        return f"{route.configuration.name}: filtered"

    def tally(self) -> Iterator[Mapping[str, int]]:
        """How many recipients the index dropped (`filtered`) since the last time, by configuration, in parts.

        Whoever asks may do other things between the parts, `path` and `change` included.
        """
        alone, self._alone = self._alone, Counter()
        yield alone
        for considered in list(self._considered.values()):
            if considered.for_one or considered.for_all:
                yield considered.dropped()

    # --- finding ---

    def _plan(self, name: str) -> Plan:
        producer: Producer[Any] | None = self.catalog.producers.get(name)
        if producer is None:  # it is not kept: anybody may write any name
            return Plan(name, "", {}, {}, 0, Kept(0, None), Considered(()))
        world = producer.world_of()
        senders = self._senders.setdefault(world, {})
        slots = self._index.considering(name)
        fields = self._index.fields
        kept = self._keyed.get((world, slots))
        if kept is None:
            kept = self._keyed[world, slots] = Kept(slots, fields.get("receiver"))
        considered = self._considered.get(slots)
        if considered is None:
            considered = self._considered[slots] = Considered([self._slots[slot] for slot in slots_of(slots)])
        plan = Plan(name, world, self.catalog.directory.world(world), senders, slots, kept, considered)
        asked = [field for field in fields if field != "receiver" and fields[field].asking & slots]
        plan.readers = tuple((field, fields[field]) for field in sorted(asked))
        self._plans[name] = plan
        return plan

    def _find(self, plan: Plan, message: Message) -> Path:
        if plan.name not in self.catalog.producers:
            return _problem("unknown_producer", missing(self.catalog, "producer", plan.name))
        slots = plan.slots
        if message.configuration is not None:
            name = message.configuration
            configuration = self.catalog.configurations.get(name)
            if configuration is None:
                return _problem("unknown_configuration", missing(self.catalog, "configuration", name))
            if not configuration.spec.enabled:
                return _problem("disabled", f"the configuration {name} is not enabled")
            slots &= 1 << self._routes[name].slot
        receiver: User | None = None
        if message.receiver is not None:
            found = plan.names.get(message.receiver.casefold())
            if not isinstance(found, User):
                return self._nobody(plan, message.receiver, found)
            receiver = found
        remaining = self._remaining(plan, slots, message, receiver)
        routes = [self._slots[slot] for slot in remaining]
        if len(routes) > 1:
            routes.sort(key=_name_of)
        kept = plan.kept.routes
        those = tuple(routes)
        those = kept.setdefault(those, those)
        return Path(those) if receiver is None else Path(those, receiver, receiver.username)

    def _remaining(self, plan: Plan, slots: int, message: Message, receiver: User | None) -> Iterable[int]:
        """Those of the slots that the index does not drop."""
        if receiver is not None:
            index = self._index.fields.get("receiver")
            if index is not None:
                if not plan.kept.usual and not plan.readers and message.configuration is None:
                    few = index.values.get(receiver.username, ())
                    if isinstance(few, tuple):  # no need to look at all the others
                        return [slot for slot in few if slot in plan.kept.members]
                slots &= index.accepting(receiver.username)
        left = slots
        for field, index in plan.readers:
            left &= index.accepting(*plan.values(field, message))
        if receiver is None:
            left |= slots & self._gone
        return slots_of(left)

    def _nobody(self, plan: Plan, name: str, found: Ambiguous | None) -> Path:
        world = self.catalog.producers[plan.name].world_of()
        if found is None:
            return _problem("unknown_receiver", f"nobody is called {name!r} in the world {world!r}")
        text = f"{name!r} in the world {world!r} may be {', '.join(found.usernames)}"
        return _problem("ambiguous_receiver", text)

    # --- changing ---

    def change(self, catalog: Catalog) -> None:
        """Decides by another catalog from now on. What was counted and not tallied is lost: `tally` first."""
        before, self.catalog = self.catalog, catalog
        filters = _changed(before.filters, catalog.filters)
        for name in filters:
            self._steps.pop(name, None)
        configurations = _changed(before.configurations, catalog.configurations)
        if filters:
            configurations |= {
                name
                for name, configuration in catalog.configurations.items()
                if not filters.isdisjoint(configuration.spec.filters)
            }
        self._forget(before, configurations)
        for name in configurations:
            self._remove(name)
            configuration = catalog.configurations.get(name)
            if configuration is not None and configuration.spec.enabled:
                self._add(configuration)
        if before.users is not catalog.users:
            usernames = _changed(before.users, catalog.users)
            for route in self._routes.values():
                if not usernames.isdisjoint(route.configuration.users):
                    self._note_gone(route)
        for name in configurations:
            if name in self._routes:
                self._note_gone(self._routes[name])

    def _forget(self, before: Catalog, configurations: Iterable[str]) -> None:
        """Forgets what was found by the catalog before, and only that which the changed configurations have a part in."""
        after = self.catalog
        if before.users is not after.users:
            self._senders = {}
        same = (before.users is after.users, before.producers is after.producers, before.consumers is after.consumers)
        if not all(same):
            self._forget_paths()
            self._plans, self._keyed, self._considered = {}, {}, {}
            for kept in self._routes.values():
                kept.exits = None
            return
        for plan in self._plans.values():
            plan.alone = {}
        for name in configurations:
            route = self._routes.get(name)
            # Producers with the same configurations keep their paths together, and all of them had this one.
            for producer in () if route is None else route.configuration.spec.producers:
                gone = self._plans.pop(producer, None)
                found = None if gone is None else self._keyed.pop((gone.world, gone.slots), None)
                if found is not None:
                    self._kept -= len(found.paths)
                    self._forgotten += found.paths, found.routes
        # Only then, or a plan goes without the paths of what it loses.
        for name in configurations:
            if name in after.configurations:
                for producer in after.configurations[name].spec.producers:
                    self._plans.pop(producer, None)
        self._considered = {plan.slots: plan.considered for plan in self._plans.values()}

    def tidy(self) -> None:
        """Frees some of what was forgotten. To be called now and then."""
        left = _BURY
        while self._forgotten and left:
            paths = self._forgotten[-1]
            while paths and left:
                paths.popitem()
                left -= 1
            if not paths:
                self._forgotten.pop()

    def _forget_paths(self) -> None:
        for kept in self._keyed.values():
            self._forgotten += kept.paths, kept.routes
            kept.paths, kept.routes = {}, {}
        for plan in self._plans.values():
            plan.paths = plan.kept.paths
        self._kept = 0

    def _add(self, configuration: Configuration) -> None:
        route = Route.of(
            configuration, [self._step(name) for name in configuration.spec.filters if name in self.catalog.filters]
        )
        route.slot = self._index.add(dict.fromkeys(configuration.spec.producers), route.looked_up())
        self._routes[configuration.name] = self._slots[route.slot] = route

    def _remove(self, name: str) -> None:
        route = self._routes.pop(name, None)
        if route is not None:
            self._index.remove(route.slot, dict.fromkeys(route.configuration.spec.producers), route.looked_up())
            del self._slots[route.slot]
            self._gone &= ~(1 << route.slot)

    def _step(self, name: str) -> Step:
        step = self._steps.get(name)
        if step is None:
            step = self._steps[name] = Step(name, self.catalog.filters[name])
        return step

    def _note_gone(self, route: Route) -> None:
        users = self.catalog.users
        route.gone = tuple(username for username in route.configuration.spec.users if username not in users)
        if route.gone:
            self._gone |= 1 << route.slot
        else:
            self._gone &= ~(1 << route.slot)


def _problem(reason: Reason, text: str) -> Path:
    return Path(problem=(reason, text))


def _name_of(route: Route) -> str:
    return route.configuration.name


def _small(values: frozenset[str | None]) -> Collection[str | None]:
    """A set of five takes 700 bytes, and a tuple 80."""
    return tuple(values) if len(values) <= 16 else values


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """The names whose objects are not the same in both."""
    if before is after:
        return set()
    return {name for name, value in after.items() if before.get(name) is not value} | (before.keys() - after.keys())


def _lookups(configuration: Configuration, chain: Sequence[Step]) -> dict[Step, Lookup]:
    """The filters of a configuration that go into the index: one for each field, and none behind one with other reasons."""
    found: dict[Step, Lookup] = {}
    fields: set[str] = set()
    for step in chain:
        filter_ = step.filter
        if filter_.reason != "filtered" or type(filter_).reason_for is not Filter.reason_for:
            break
        try:
            lookup = filter_.lookup(configuration.users)
        except Exception:  # a plugin's fault costs speed, and no message
            logger.exception(
                "The filter %s does not say what it looks up and is asked instead.",
                step.name,
                extra={"action": "filter", "filter": step.name},
            )
            continue
        if lookup is None or lookup.field in fields or step in found:
            continue
        if lookup.field not in ("receiver", "severity", "sender") and not lookup.field.startswith(LABELS):
            continue  # nothing that the index knows
        found[step] = lookup
        fields.add(lookup.field)
    return found


def _test_of(name: str, filter_: Filter[Any]) -> tuple[Test, Any] | None:
    try:
        test = filter_.test()
    except Exception:  # a plugin's fault costs speed, and no message
        logger.exception(
            "The filter %s has no test and is asked instead.", name, extra={"action": "filter", "filter": name}
        )
        return None
    if test is None:
        return None
    found: tuple[Test, Any] = _call, test
    if isinstance(test, partial) and len(test.args) == 1 and not test.keywords:
        found = test.func, test.args[0]  # the function is in the processor's cache, since others have it too
    return (_not, found) if filter_.parameters.negate else found


def _call(test: Callable[[Message], bool], message: Message) -> bool:
    return test(message)


def _not(test: tuple[Test, Any], message: Message) -> bool:
    return not test[0](test[1], message)
