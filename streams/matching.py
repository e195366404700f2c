"""Matching: the compiled form of all configurations. It decides as `filters.decision` does, at a cost that does not grow with
their number.

    message ─► path ─► routes that remain ─► steps of each

What filters look up (`Filter.lookup`) is in the index (`streams.index`). A **path** is what the index says about one receiver;
which path a message takes is kept by producer, receiver and the values of the fields that are looked up, so the index is
asked once for all such messages. The filters that cannot be looked up are the **steps** of a route, asked in the
configuration's order, of the routes that remain.

Looked up are only filters that drop with the reason `filtered`, and only in front of the first one that has other reasons, so
that what is recorded is what the chain would have said. Which of several filters that drop is named may differ.

A change compiles what it changed and nothing else; paths are found again when they are needed.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from heapq import nsmallest
from typing import Any

from filters.chain import ask, reason_of
from filters.decision import missing
from notifier.catalog import Catalog, Configuration
from notifier.identity import Ambiguous
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter, Lookup, Producer
from notifier.user import User
from streams.index import NOTHING_NAMED, Field, Index, Value, slots_of

logger = logging.getLogger(__name__)

MAX_PATHS = 150_000  # of which it is kept which messages take them; about 150 bytes each
MAX_ALONE = 10_000  # the same of messages for one configuration, for each producer
MAX_SENDERS = 50_000  # whose users are remembered, for each world
_BURY = 2_000  # forgotten paths that are freed at a time, so that freeing many stops nobody
LABELS = "labels."

Test = Callable[[Message], bool]


class Step:
    """A filter that is asked, compiled as far as it says how; one for all routes that use the filter."""

    __slots__ = ("_states", "_timed", "filter", "name", "reason", "test")

    def __init__(self, name: str, filter_: Filter[Any]) -> None:
        self.name = name
        self.filter = filter_
        self.test = _test_of(name, filter_)  # whether it passes, where the message alone decides; may raise
        # Why it drops, where that is always the same; None: it has to be asked.
        self.reason: Reason | None = filter_.reason if type(filter_).reason_for is Filter.reason_for else None
        self._timed = True  # until it says otherwise
        # By username, where receiver and time alone decide: the user, why it drops (None: it passes), and until when.
        self._states: dict[str | None, tuple[User | None, Reason | None, datetime]] = {}

    def drops(
        self, message: Message, users: frozenset[str], at: datetime, sender: User | None, receiver: User | None
    ) -> Reason | None:
        """Why it drops a message for one receiver; None where it passes. Does not raise."""
        name = None if receiver is None else receiver.username
        state = self._states.get(name)
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
                self._states[name] = receiver, reason, until
        return reason


class Route:
    """A configuration that is enabled, compiled."""

    __slots__ = ("asked", "asked_of_all", "chain", "configuration", "gone", "hits", "hits_of_all", "lookups", "slot")

    def __init__(self, configuration: Configuration, chain: Sequence[Step]) -> None:
        self.configuration = configuration
        self.slot = -1
        self.chain = tuple(chain)  # all its filters
        looked_up = _lookups(configuration, chain)
        self.lookups = tuple((step, lookup) for step, lookup in looked_up.items())
        self.asked = tuple(step for step in chain if step not in looked_up)
        # Of a message without receiver every user of the configuration is a receiver, which the index knows nothing of.
        self.asked_of_all = tuple(
            step for step in chain if step not in looked_up or looked_up[step].field == "receiver"
        )
        self.gone: tuple[str, ...] = ()  # its users whose definitions cannot be used
        self.hits = 0  # messages for one receiver that the index did not drop, since `Matcher.tally`
        self.hits_of_all = 0  # the same without receiver

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
            test = step.test
            if test is not None:
                try:
                    if test(message):
                        continue
                    if step.reason is not None:
                        return step, step.reason
                except Exception:  # noqa: S110 - the plain way, below, logs it and says that it passes
                    pass
            reason = step.drops(message, self.configuration.users, at, sender, receiver)
            if reason is not None:
                return step, reason
        return None

    def pairs(self) -> list[tuple[Lookup, bool]]:
        """What the index is given."""
        return [(lookup, step.filter.parameters.negate) for step, lookup in self.lookups]


class Path:
    """What the index says about messages of the same receiver for which the same routes remain, whoever produced them."""

    __slots__ = ("count", "exits", "problem", "receiver", "routes", "text", "told")

    def __init__(
        self,
        receiver: User | None = None,
        routes: tuple[Route, ...] = (),
        problem: Reason | None = None,
        text: str = "",
    ) -> None:
        self.receiver = receiver  # none: the message names none, or nobody who is known
        self.routes = routes  # that the index does not drop, in order of their names
        self.problem: Reason | None = problem  # why nobody considers it
        self.text = text  # the problem in words
        self.count = 0  # messages that took it, since `Matcher.tally`
        self.exits: Any = None  # what the router makes of it
        self.told: dict[object, Any] = {}  # the same, of messages that it does not deliver


class Plan:
    """A producer's part: its people, which configurations take its messages, and which fields are looked up for them."""

    __slots__ = (
        "alone", "first", "for_all", "for_one", "name", "names", "paths", "readers", "senders", "slots", "source", "world",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        world: str,
        names: dict[str, User | Ambiguous],
        senders: dict[str, User | None],
        slots: int,
        paths: dict[Any, Path],
    ) -> None:
        self.name = name
        self.world = world  # of its people
        self.names = names
        self.senders = senders  # by what messages call them; of all producers of its world
        self.slots = slots  # of the configurations that take its messages
        self.first: tuple[Route, ...] | None = None  # of those, in order of their names
        self.readers: tuple[tuple[str, Field], ...] = ()  # of the fields besides the receiver
        self.paths = (
            paths  # by what messages have in common; of all producers of its world with the same configurations
        )
        self.alone: dict[Any, Path] = {}  # the same, of messages that only one configuration may consider
        self.source: Any = None  # what the router makes of its name
        self.for_one = 0  # messages for one receiver that all its configurations considered, since `Matcher.tally`
        self.for_all = 0  # the same without receiver

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
        self._active: list[Path] = []  # with a count
        self._paths: dict[tuple[str | None, tuple[Route, ...]], Path] = {}  # by receiver and routes
        self._keyed: dict[tuple[str, int], dict[Any, Path]] = {}  # the plans' `paths`, by world and slots
        self._sets: dict[int, tuple[Route, ...]] = {}  # routes by slots
        self._kept = 0  # entries of the plans' `paths`
        self._senders: dict[str, dict[str, User | None]] = {}  # by world
        self._alone: set[Route] = set()  # that considered messages for them alone
        self._forgotten: list[dict[Any, Path]] = []
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
            if self._kept >= MAX_PATHS:
                self._forget_paths()
            path = self._find(plan, message)
            if message.configuration is None:
                plan.paths[key] = path
            elif len(plan.alone) < MAX_ALONE:
                plan.alone[key] = path
            self._kept += message.configuration is None
        if path.problem is None:
            if not path.count:
                self._active.append(path)
            path.count += 1
            if message.configuration is not None:
                self._count_alone(message)
            elif path.receiver is None:
                plan.for_all += 1
            else:
                plan.for_one += 1
        return plan, path

    def _count_alone(self, message: Message) -> None:
        """Of a message that only one configuration considers."""
        route = self._routes.get(message.configuration or "")
        if route is not None and message.producer in route.configuration.spec.producers:
            if message.receiver is None:
                route.hits_of_all -= 1
            else:
                route.hits -= 1
            self._alone.add(route)

    def considering(self, plan: Plan, message: Message, most: int) -> tuple[list[Route], int]:
        """The first configurations by name that consider a message, `most` at most, and how many there are in all."""
        if message.configuration is not None:
            route = self._routes.get(message.configuration)
            if route is None or message.producer not in route.configuration.spec.producers:
                return [], 0
            return [route], 1
        if plan.first is None or len(plan.first) < most:
            routes = (self._slots[slot] for slot in slots_of(plan.slots))
            plan.first = tuple(nsmallest(most, routes, key=_name_of))
        return list(plan.first[:most]), plan.slots.bit_count()

    def drop_of_index(self, route: Route, plan: Plan, path: Path, message: Message) -> str:
        """The name of a filter in the index that drops a message which is on that path; only where there is one."""
        for step, lookup in route.lookups:
            values: Iterable[Value]
            if lookup.field == "receiver":
                if path.receiver is None:
                    continue
                values = (path.receiver.username,)
            else:
                values = plan.values(lookup.field, message)
            if any(value in lookup.values for value in values) is step.filter.parameters.negate:
                return step.name
        return ""

    def tally(self) -> list[tuple[str, Reason, int]]:
        """What the index dropped since the last time: (configuration, reason, recipients)."""
        for path in self._active:
            count, path.count = path.count, 0
            if path.receiver is None:
                for route in path.routes:
                    route.hits_of_all += count
            else:
                for route in path.routes:
                    route.hits += count
        self._active = []
        considered: dict[int, list[int]] = {}  # many producers have the same configurations
        for plan in self._plans.values():
            if plan.for_one or plan.for_all:
                sums = considered.setdefault(plan.slots, [0, 0])
                sums[0] += plan.for_one
                sums[1] += plan.for_all
                plan.for_one = plan.for_all = 0
        # There may be many configurations, so nothing is made for each. What hit one counts against what it considered.
        due: list[Iterable[Route]] = [self._alone]
        self._alone = set()
        for slots, (for_one, for_all) in considered.items():
            routes = self._routes_of(slots)
            due.append(routes)
            for route in routes:
                route.hits -= for_one
                route.hits_of_all -= for_all
        found: list[tuple[str, Reason, int]] = []
        for some in due:
            for route in some:
                if route.hits or route.hits_of_all:
                    dropped = -route.hits - route.hits_of_all * (len(route.configuration.spec.users) or 1)
                    route.hits = route.hits_of_all = 0
                    if dropped > 0:
                        found.append((route.configuration.name, "filtered", dropped))
        return found

    def _routes_of(self, slots: int) -> tuple[Route, ...]:
        routes = self._sets.get(slots)
        if routes is None:
            routes = self._sets[slots] = tuple([self._slots[slot] for slot in slots_of(slots)])
        return routes

    # --- finding ---

    def _plan(self, name: str) -> Plan:
        producer: Producer[Any] | None = self.catalog.producers.get(name)
        if producer is None:  # it is not kept: anybody may write any name
            return Plan(name, "", {}, {}, 0, {})
        world = producer.world_of()
        senders = self._senders.setdefault(world, {})
        slots = self._index.considering(name)
        paths = self._keyed.setdefault((world, slots), {})
        plan = Plan(name, world, self.catalog.directory.world(world), senders, slots, paths)
        fields = {lookup.field for slot in slots_of(plan.slots) for _, lookup in self._slots[slot].lookups}
        plan.readers = tuple((field, self._index.fields[field]) for field in sorted(fields - {"receiver"}))
        self._plans[name] = plan
        return plan

    def _find(self, plan: Plan, message: Message) -> Path:
        if plan.name not in self.catalog.producers:
            return Path(problem="unknown_producer", text=missing(self.catalog, "producer", plan.name))
        slots = plan.slots
        if message.configuration is not None:
            name = message.configuration
            configuration = self.catalog.configurations.get(name)
            if configuration is None:
                text = missing(self.catalog, "configuration", name)
                return Path(problem="unknown_configuration", text=text)
            if not configuration.spec.enabled:
                return Path(problem="disabled", text=f"the configuration {name} is not enabled")
            slots &= 1 << self._routes[name].slot
        receiver: User | None = None
        if message.receiver is not None:
            found = plan.names.get(message.receiver.casefold())
            if not isinstance(found, User):
                return self._nobody(plan, message.receiver, found)
            receiver = found
            index = self._index.fields.get("receiver")
            remaining = slots if index is None else slots & index.accepting(receiver.username)
        else:
            remaining = slots
        for field, index in plan.readers:
            remaining &= index.accepting(*plan.values(field, message))
        if receiver is None:
            remaining |= slots & self._gone
        routes = tuple(sorted([self._slots[slot] for slot in slots_of(remaining)], key=_name_of))
        shared = (None if receiver is None else receiver.username, routes)
        path = self._paths.get(shared)
        if path is None:
            path = self._paths[shared] = Path(receiver, routes)
        return path

    def _nobody(self, plan: Plan, name: str, found: Ambiguous | None) -> Path:
        world = self.catalog.producers[plan.name].world_of()
        if found is None:
            return Path(problem="unknown_receiver", text=f"nobody is called {name!r} in the world {world!r}")
        text = f"{name!r} in the world {world!r} may be {', '.join(found.usernames)}"
        return Path(problem="ambiguous_receiver", text=text)

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
        self._sets = {}
        if before.users is not after.users:
            self._senders = {}
        kept = (before.users is after.users, before.producers is after.producers, before.consumers is after.consumers)
        if not all(kept):
            self._forget_paths()
            self._plans, self._keyed = {}, {}
            return
        for plan in self._plans.values():
            plan.alone = {}
        for name in configurations:
            route = self._routes.get(name)
            # Producers with the same configurations keep their paths together, and all of them had this one.
            for producer in () if route is None else route.configuration.spec.producers:
                gone = self._plans.pop(producer, None)
                paths = None if gone is None else self._keyed.pop((gone.world, gone.slots), None)
                if paths is not None:
                    self._kept -= len(paths)
                    self._forgotten.append(paths)
            if name in after.configurations:
                for producer in after.configurations[name].spec.producers:
                    self._plans.pop(producer, None)
        if len(self._paths) >= MAX_PATHS:  # with routes that are gone
            self._forget_paths()

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
        self._forgotten += self._keyed.values()
        self._keyed = {key: {} for key in self._keyed}
        for plan in self._plans.values():
            plan.paths = self._keyed[plan.world, plan.slots]
        self._forgotten.append(self._paths)
        self._paths = {}
        self._kept = 0

    def _add(self, configuration: Configuration) -> None:
        route = Route(
            configuration, [self._step(name) for name in configuration.spec.filters if name in self.catalog.filters]
        )
        route.slot = self._index.add(dict.fromkeys(configuration.spec.producers), route.pairs())
        self._routes[configuration.name] = self._slots[route.slot] = route

    def _remove(self, name: str) -> None:
        route = self._routes.pop(name, None)
        if route is not None:
            self._index.remove(route.slot, dict.fromkeys(route.configuration.spec.producers), route.pairs())
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


def _name_of(route: Route) -> str:
    return route.configuration.name


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


def _test_of(name: str, filter_: Filter[Any]) -> Test | None:
    try:
        test = filter_.test()
    except Exception:  # a plugin's fault costs speed, and no message
        logger.exception(
            "The filter %s has no test and is asked instead.", name, extra={"action": "filter", "filter": name}
        )
        return None
    if test is None or not filter_.parameters.negate:
        return test
    return lambda message: not test(message)
