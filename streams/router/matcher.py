"""Matcher: which routes a message takes. It decides as `filters.decision` does, at a cost that grows neither with the number of
configurations nor with that of the pairs of producer and receiver.

    message ─► plan of its producer ─┐
               person of its receiver ┴─► routes that remain ─► steps of each

What is known of a receiver is kept once for all producers (`streams.router.person`): the few routes that name the receiver, each
with the producers that it takes as bits. Few routes for any receiver, and lookups of other fields, are judged beside them one by
one. The index (`streams.router.index`) is asked where there are many, or a message names its configuration or no receiver. The
router asks the steps of the routes that remain (`streams.router.route`) for each message. A change of the catalog compiles the
configurations that it touches, and the persons whom they name are looked up anew when a message needs them.

Nothing is kept for a pair of producer and receiver, or for a combination of routes but the last few: traffic need not repeat.
At 10,000 configurations the router is bound by cache misses, so what a message touches is small and lies together, and Python's
garbage collector does not track it.

Measured and given up: paths kept by producer and receiver (fast while pairs repeat; 10,000 receivers and 20 producers are
200,000 pairs, and each first one cost 15 µs), routes as bits for every receiver (1.2 KiB each at 10,000 configurations).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Any

from filters.decision import filter_of, members_of, missing, nobody_in, unknown
from notifier.catalog import Catalog, Configuration
from notifier.folded import folded
from notifier.group import Group
from notifier.identity import Ambiguous
from notifier.message import Message
from notifier.plugin import Producer
from notifier.user import User
from streams.router.index import Index, Value, slots_of
from streams.router.person import Members, Person, masks_of, new_person, nobody
from streams.router.plan import ProducerPlan, World
from streams.router.route import Route, Step, accepts, dropped, name_of

MAX_NAMES = 20_000  # names of a world that are kept beyond the number of its users: other spellings, and nobody's
MAX_ANY = 32  # configurations of a producer that take any receiver, up to which no sets of bits are needed
MAX_MASKED = 256  # producers up to which each person has a byte for each
MAX_COMBINED = 1_000  # combinations of routes that are kept
_TALLIED_AT_ONCE = 2_000  # routes, which take milliseconds
_KNOWN_OF = ("users", "groups", "producers", "mappings", "consumers")  # what plans, worlds and legs are made of
_FREED_AT_ONCE = 2_000  # forgotten objects; freeing many takes milliseconds


class Matcher:
    """Finds the routes of messages by a catalog that may change. Waits for nothing and does not raise."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = Catalog(registry=catalog.registry)
        self._index = Index()
        self._steps: dict[str, Step] = {}  # by filter
        self._routes: dict[str, Route] = {}  # by configuration
        self._slots: dict[int, Route] = {}
        self._numbers: dict[str, int] = {}  # by producer that some configuration has named: its bit in `Route.takes`
        self._incomplete = 0  # slots of routes with users whose definitions cannot be used
        self.plans: dict[str, ProducerPlan] = {}  # by producer
        self._worlds: dict[str, World] = {}
        self._persons: dict[str, Person] = {}  # by username
        self._combined: dict[int, tuple[Route, ...]] = {}  # by slots
        # Recipients whom the index dropped of messages that name their configuration, by configuration.
        self._dropped_addressed: Counter[str] = Counter()
        self._forgotten: list[dict[Any, Any]] = []  # to be freed; see `tidy`
        self.change(catalog)

    # --- asking ---

    def find(self, plan: ProducerPlan, message: Message) -> tuple[Person | None, Sequence[Route]]:
        """The receiver and the routes that remain, where person and plan do not say so themselves; counts the message.

        None is the receiver of a message that names nobody, which is for everyone. A person with a problem has no routes, and
        the members of a group have their own: see `find_for`.
        """
        if plan.name not in self.catalog.producers:
            return nobody("unknown_producer", missing(self.catalog, "producer", plan.name)), ()
        if message.configuration is not None:
            name = message.configuration
            configuration = self.catalog.configurations.get(name)
            if configuration is None:
                return nobody("unknown_configuration", missing(self.catalog, "configuration", name)), ()
            if not configuration.spec.enabled:
                return nobody("disabled", f"the configuration {name} is not enabled"), ()
        person = None
        if message.receiver is not None:
            person = self.person(plan, message.receiver)
            if person.user is None:
                return person, ()
        return person, self.find_for(plan, message, person)

    def find_for(self, plan: ProducerPlan, message: Message, person: Person | None) -> Sequence[Route]:
        """The routes that remain for a person, or for everyone, of a message that `find` was asked about; counts the message."""
        slots = plan.slots
        if message.configuration is not None:
            slots &= 1 << self._routes[message.configuration].slot
        routes = self._remaining(plan, slots, message, person)
        if message.configuration is not None:
            self._count_addressed(message, person, routes)
        elif person is None:
            plan.for_all += 1
        else:
            plan.for_one += 1
        return routes

    def person(self, plan: ProducerPlan, name: str) -> Person:
        """Who is called so in a producer's world."""
        world = plan.world
        found = world.people.get(name)
        if found is None:
            known = world.users.get(folded(name))
            found = self.person_of(known) if isinstance(known, User) else self._no_user(world.name, name, known)
            if len(world.people) >= len(world.users) + MAX_NAMES:
                self._forgotten.append(world.people.copy())
                world.people.clear()  # the plans refer to it
            world.people[name] = found
        return found

    def _no_user(self, world: str, name: str, found: Group | Ambiguous | None) -> Person:
        if not isinstance(found, Group):
            return nobody(*unknown(self.catalog, world, name, found))
        users = members_of(self.catalog, found)
        if not users:
            return nobody("unknown_receiver", nobody_in(found))
        return Members(None, users[0].username, users=users)

    def person_of(self, user: User) -> Person:
        """What is kept of a user."""
        found = self._persons.get(user.username)
        if found is None:
            found = self._persons[user.username] = new_person(user)
        return found

    def _count_addressed(self, message: Message, person: Person | None, routes: Sequence[Route]) -> None:
        """Counts a message that names its configuration: no other one considers it."""
        for route in routes:  # the router counts them as those of any other message
            if person is None:
                route.hits_of_all -= 1
            else:
                route.hits -= 1
        name = message.configuration or ""
        route = self._routes[name]
        if not routes and message.producer in route.configuration.spec.producers:
            self._dropped_addressed[name] += 1 if person is not None else len(route.configuration.usernames) or 1

    def considering(self, plan: ProducerPlan, message: Message, most: int) -> tuple[Sequence[Route], int]:
        """The first routes by name that consider a message, at most `most`, and how many there are in all."""
        if message.configuration is not None:
            route = self._routes.get(message.configuration)
            if route is None or message.producer not in route.configuration.spec.producers:
                return [], 0
            return [route], 1
        if plan.first is None:
            routes = (self._slots[slot] for slot in slots_of(plan.slots))
            plan.first = tuple(nsmallest(most, routes, key=name_of))
        return plan.first, plan.slots.bit_count()

    def drop_of_index(self, route: Route, plan: ProducerPlan, person: Person | None, message: Message) -> Step | None:
        """The filter in the index that drops a message for a receiver, or for everyone."""
        for step, field, accepted in route.lookups:
            values: Iterable[Value]
            if field == "receiver":
                if person is None:
                    continue
                values = (person.username,)
            else:
                values = plan.values(field, message)
            if any(value in accepted for value in values) is step.filter.parameters.negate:
                return step
        return None

    def tally(self) -> Iterator[Mapping[str, int]]:
        """How many recipients the index dropped (`filtered`) since the last call, by configuration, in parts.

        Messages that a configuration considered minus those that the index let pass. Between two parts the caller may call any
        other method: what comes meanwhile counts for the next call, or is taken off this one and added to the next.
        """
        addressed, self._dropped_addressed = self._dropped_addressed, Counter()
        yield addressed
        for_one, for_all = [0] * len(self._numbers), [0] * len(self._numbers)
        for plan in self.plans.values():
            if plan.slots:
                for_one[plan.number], for_all[plan.number] = plan.for_one, plan.for_all
                plan.for_one = plan.for_all = 0
        if any(for_one) or any(for_all):
            routes = list(self._routes.values())
            for start in range(0, len(routes), _TALLIED_AT_ONCE):
                yield dropped(routes[start : start + _TALLIED_AT_ONCE], for_one, for_all)

    # --- finding ---

    def plan(self, name: str) -> ProducerPlan:
        """The plan of a producer. That of one that is not defined has no routes."""
        found = self.plans.get(name)
        if found is not None:
            return found
        producer: Producer[Any] | None = self.catalog.producers.get(name)
        if producer is None:  # not kept: clients may write any name
            return ProducerPlan(name, World("", {}), -1, 0)
        world_name = producer.world_of()
        world = self._worlds.get(world_name)
        if world is None:
            world = self._worlds[world_name] = World(world_name, self.catalog.directory.world(world_name))
        slots = self._index.considering(name)
        fields = self._index.fields
        plan = self.plans[name] = ProducerPlan(name, world, self._numbers.get(name, -1), slots)
        plan.mappings = self.catalog.mappings_of(name)
        asked = [field for field in fields if field != "receiver" and fields[field].asking & slots]
        plan.readers = tuple((field, fields[field]) for field in sorted(asked))
        receivers = fields.get("receiver")
        any_receiver = slots if receivers is None else slots & receivers.usually
        plan.asks = bool(any_receiver or plan.readers or not slots)
        if any_receiver.bit_count() <= MAX_ANY:
            plan.any_receiver = self._in_order(any_receiver)
        return plan

    def _remaining(self, plan: ProducerPlan, slots: int, message: Message, person: Person | None) -> Sequence[Route]:
        """The routes that the index does not drop, in the order of their names."""
        if not slots:
            return ()
        if person is None:
            if not plan.readers and message.configuration is None:
                if plan.everyone is None:
                    plan.everyone = self._in_order(slots)
                return plan.everyone
        else:
            if plan.any_receiver is not None and message.configuration is None:
                named = person.routes if person.routes is not None else self._look_up(person)
                if named is not None:
                    return self._few(plan, message, person, named)
            receivers = self._index.fields.get("receiver")
            if receivers is not None:
                slots &= receivers.accepting(person.username)
        left = slots
        for field, index in plan.readers:
            left &= index.accepting(*plan.values(field, message))
        if person is None:
            left |= slots & self._incomplete
        routes = self._combined.get(left)
        if routes is None:
            if len(self._combined) >= MAX_COMBINED:
                self._combined.clear()
            routes = self._combined[left] = self._in_order(left)
        return routes

    def _few(self, plan: ProducerPlan, message: Message, person: Person, named: Sequence[Route]) -> Sequence[Route]:
        """As `_remaining`, where both the routes that name the receiver and those that take any are few."""
        routes = [route for route in named if route.takes >> plan.number & 1]
        if plan.any_receiver:
            routes += [route for route in plan.any_receiver if route not in person.refusing]
            routes.sort(key=name_of)
        if plan.readers:
            values: dict[str, tuple[Value, ...]] = {}
            for field, _ in plan.readers:
                values[field] = plan.values(field, message)
            routes = [route for route in routes if accepts(route, values)]
        return routes

    def _look_up(self, person: Person) -> Sequence[Route] | None:
        """The routes that name a person, who keeps them; None where there are too many."""
        receivers = self._index.fields.get("receiver")
        few = () if receivers is None else receivers.values.get(person.username, ())
        if not isinstance(few, tuple):
            return None
        usually = 0 if receivers is None else receivers.usually
        routes = [self._slots[slot] for slot in few if not usually >> slot & 1]
        routes.sort(key=name_of)
        person.routes = tuple(routes)
        person.refusing = tuple([self._slots[slot] for slot in few if usually >> slot & 1])
        if len(self._numbers) <= MAX_MASKED:
            person.masks, person.asks = masks_of(routes, len(self._numbers)), False
        return person.routes

    def _in_order(self, slots: int) -> tuple[Route, ...]:
        routes = [self._slots[slot] for slot in slots_of(slots)]
        if len(routes) > 1:
            routes.sort(key=name_of)
        return tuple(routes)

    # --- changing ---

    def change(self, catalog: Catalog) -> None:
        """Decides by another catalog from now on. Call `tally` before: counts that were not taken are lost."""
        before, self.catalog = self.catalog, catalog
        filters = _changed(before.filters, catalog.filters) | (before.pass_on_error ^ catalog.pass_on_error)
        unusable = _changed(before.problems, catalog.problems)
        filters |= {key.removeprefix("filter/") for key in unusable if key.startswith("filter/")}
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
                    self._note_missing_users(route)
        for name in configurations:
            if name in self._routes:
                self._note_missing_users(self._routes[name])

    def _forget(self, before: Catalog, configurations: Iterable[str]) -> None:
        """Forgets what the changed configurations are part of; everything where other definitions changed."""
        after = self.catalog
        self._combined = {}
        if any(getattr(before, table) is not getattr(after, table) for table in _KNOWN_OF):
            self._forgotten += [world.people for world in self._worlds.values()]
            self._forgotten.append(self._persons)
            self.plans, self._worlds, self._persons = {}, {}, {}
            for route in self._routes.values():
                route.legs = None
            return
        for name in configurations:
            old = self._routes.get(name)
            new = after.configurations.get(name)
            for producer in () if old is None else old.configuration.spec.producers:
                self.plans.pop(producer, None)
            for producer in () if new is None else new.spec.producers:
                self.plans.pop(producer, None)

    def _forget_routes(self, route: Route) -> None:
        """The persons whom a route's filters name are looked up anew: it comes or goes."""
        for _, field, values in route.lookups:
            if field == "receiver":
                persons = self._persons
                for name in values:
                    if name in persons:
                        persons[name].asks, persons[name].routes = True, None

    def tidy(self) -> None:
        """Frees some of what was forgotten. Call it between slices of work."""
        left = _FREED_AT_ONCE
        while self._forgotten and left:
            some = self._forgotten[-1]
            while some and left:
                some.popitem()
                left -= 1
            if not some:
                self._forgotten.pop()

    def _add(self, configuration: Configuration) -> None:
        steps = [self._step(name) for name in configuration.spec.filters]
        route = Route.of(configuration, [step for step in steps if step is not None])
        route.slot = self._index.add(dict.fromkeys(configuration.spec.producers), route.looked_up())
        numbers, known = self._numbers, len(self._numbers)
        route.numbers = tuple([numbers.setdefault(name, len(numbers)) for name in set(configuration.spec.producers)])
        for number in route.numbers:
            route.takes |= 1 << number
        if len(numbers) > known:  # the masks of all persons have no place for it
            for person in self._persons.values():
                person.asks, person.routes = True, None
        self._forget_routes(route)
        self._routes[configuration.name] = self._slots[route.slot] = route

    def _remove(self, name: str) -> None:
        route = self._routes.pop(name, None)
        if route is not None:
            self._index.remove(route.slot, dict.fromkeys(route.configuration.spec.producers), route.looked_up())
            self._forget_routes(route)
            del self._slots[route.slot]
            self._incomplete &= ~(1 << route.slot)

    def _step(self, name: str) -> Step | None:
        step = self._steps.get(name)
        if step is None:
            filter_ = filter_of(self.catalog, name)
            if filter_ is None:  # it cannot be used and lets everything pass
                return None
            step = self._steps[name] = Step(name, filter_)
        return step

    def _note_missing_users(self, route: Route) -> None:
        users = self.catalog.users
        route.missing_users = tuple(username for username in route.configuration.usernames if username not in users)
        if route.missing_users:
            self._incomplete |= 1 << route.slot
        else:
            self._incomplete &= ~(1 << route.slot)


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """The names whose objects are not the same in both."""
    if before is after:
        return set()
    return {name for name, value in after.items() if before.get(name) is not value} | (before.keys() - after.keys())
