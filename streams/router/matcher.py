"""Matcher: which routes a message takes. It decides as `filters.decision` does, at a cost that does not grow with the number
of configurations.

    message ─► plan of its producer ─► path: its receiver, and the routes that remain ─► steps of each

The index (`streams.router.index`) is asked once for each path (`streams.router.plan`); the steps of the routes that remain
(`streams.router.route`) are asked for each message, by the router. A change of the catalog compiles the configurations that it
touches and forgets their paths, which are found again when a message needs them.

At 10,000 configurations the router is bound by cache misses, so per-message data is small and shared, and untracked by Python's
garbage collector.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Any

from filters.decision import filter_of, missing
from notifier.catalog import Catalog, Configuration
from notifier.folded import folded
from notifier.identity import Ambiguous
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Producer
from notifier.user import User
from streams.router.index import Index, Value, slots_of
from streams.router.plan import Considered, Path, ProducerPlan, SharedPaths, World
from streams.router.route import Route, Step, name_of

MAX_PATHS = 150_000  # paths that are kept, about 80 bytes each
MAX_ADDRESSED = 10_000  # the same of messages that name their configuration, for each producer
_FREED_AT_ONCE = 2_000  # forgotten paths; freeing many takes milliseconds


class Matcher:
    """Finds the routes of messages by a catalog that may change. Waits for nothing and does not raise."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = Catalog(registry=catalog.registry)
        self._index = Index()
        self._steps: dict[str, Step] = {}  # by filter
        self._routes: dict[str, Route] = {}  # by configuration
        self._slots: dict[int, Route] = {}
        self._incomplete = 0  # slots of routes with users whose definitions cannot be used
        self._plans: dict[str, ProducerPlan] = {}  # by producer
        self._shared: dict[tuple[str, int], SharedPaths] = {}  # by world and slots
        self._considered: dict[int, Considered] = {}  # by slots
        self._path_count = 0  # in all of `_shared`
        self._senders: dict[str, dict[str, User | None]] = {}  # by world
        # Recipients whom the index dropped of messages that name their configuration, by configuration.
        self._dropped_addressed: Counter[str] = Counter()
        self._forgotten: list[dict[Any, Any]] = []  # to be freed; see `tidy`
        self.change(catalog)

    # --- asking ---

    def path(self, message: Message) -> tuple[ProducerPlan, Path]:
        """The path of a message, with its producer's plan; counts it."""
        plan = self._plans.get(message.producer)
        if plan is None:
            plan = self._plan(message.producer)
        key: Any = plan.key(message) if plan.readers else message.receiver
        if message.configuration is None:
            path = plan.paths.get(key)
        else:
            key = (key, message.configuration)
            path = plan.addressed.get(key)
        if path is None:
            path = self._find(plan, message)
            self._remember(plan, message, key, path)
        if path.problem is None:
            if message.configuration is not None:
                self._count_addressed(message, path)
            elif path.receiver is None:
                plan.considered.for_all += 1
                for route in path.routes:
                    route.hits_of_all += 1
            else:
                plan.considered.for_one += 1
                for route in path.routes:
                    route.hits += 1
        return plan, path

    def _count_addressed(self, message: Message, path: Path) -> None:
        """Counts a message that names its configuration."""
        name = message.configuration or ""
        route = self._routes.get(name)
        if route is not None and route not in path.routes and message.producer in route.configuration.spec.producers:
            recipients = 1 if path.receiver is not None else len(route.configuration.spec.users) or 1
            self._dropped_addressed[name] += recipients

    def _remember(self, plan: ProducerPlan, message: Message, key: Any, path: Path) -> None:
        if message.configuration is not None:
            if len(plan.addressed) < MAX_ADDRESSED:
                plan.addressed[key] = path
            return
        if self._path_count >= MAX_PATHS:
            self._forget_paths()
        if key == path.username:
            key = path.username  # an equal text that is in memory already
        plan.paths[key] = path
        self._path_count += 1

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

    def drop_of_index(self, route: Route, plan: ProducerPlan, path: Path, message: Message) -> str:
        """The route's configuration, and its filter in the index that drops a message of this path: `cfg: receiver-exists`."""
        if (
            path.receiver is not None and not plan.readers
        ):  # then only the filter that looks up the receiver can have dropped it
            text = plan.drops.get(route)
            if text is None:
                text = plan.drops[route] = self._drop_of_index(route, plan, path, message)
            return text
        return self._drop_of_index(route, plan, path, message)

    def _drop_of_index(self, route: Route, plan: ProducerPlan, path: Path, message: Message) -> str:
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
        """How many recipients the index dropped (`filtered`) since the last call, by configuration, in parts.

        Between two parts the caller may call any other method.
        """
        addressed, self._dropped_addressed = self._dropped_addressed, Counter()
        yield addressed
        for considered in list(self._considered.values()):
            if considered.for_one or considered.for_all:
                yield considered.dropped()

    # --- finding ---

    def _plan(self, name: str) -> ProducerPlan:
        producer: Producer[Any] | None = self.catalog.producers.get(name)
        if producer is None:  # not kept: clients may write any name
            return ProducerPlan(name, World("", {}, {}), 0, SharedPaths(0, None), Considered(()))
        world_name = producer.world_of()
        senders = self._senders.setdefault(world_name, {})
        world = World(world_name, self.catalog.directory.world(world_name), senders)
        slots = self._index.considering(name)
        fields = self._index.fields
        shared = self._shared.get((world.name, slots))
        if shared is None:
            shared = self._shared[world.name, slots] = SharedPaths(slots, fields.get("receiver"))
        considered = self._considered.get(slots)
        if considered is None:
            considered = self._considered[slots] = Considered([self._slots[slot] for slot in slots_of(slots)])
        plan = ProducerPlan(name, world, slots, shared, considered)
        asked = [field for field in fields if field != "receiver" and fields[field].asking & slots]
        plan.readers = tuple((field, fields[field]) for field in sorted(asked))
        self._plans[name] = plan
        return plan

    def _find(self, plan: ProducerPlan, message: Message) -> Path:
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
            found = plan.names.get(folded(message.receiver))
            if not isinstance(found, User):
                return _nobody(plan.world, message.receiver, found)
            receiver = found
        remaining = self._remaining(plan, slots, message, receiver)
        routes = [self._slots[slot] for slot in remaining]
        if len(routes) > 1:
            routes.sort(key=name_of)
        made = tuple(routes)
        equal = plan.shared.routes.setdefault(made, made)  # equal parts are shared
        return Path(equal) if receiver is None else Path(equal, receiver, receiver.username)

    def _remaining(self, plan: ProducerPlan, slots: int, message: Message, receiver: User | None) -> Iterable[int]:
        """The slots that the index does not drop."""
        if receiver is not None:
            index = self._index.fields.get("receiver")
            if index is not None:
                if not plan.shared.any_receiver and not plan.readers and message.configuration is None:
                    few = index.values.get(receiver.username, ())
                    if isinstance(few, tuple):  # then all other slots drop the message
                        return [slot for slot in few if slot in plan.shared.members]
                slots &= index.accepting(receiver.username)
        left = slots
        for field, index in plan.readers:
            left &= index.accepting(*plan.values(field, message))
        if receiver is None:
            left |= slots & self._incomplete
        return slots_of(left)

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
        """Forgets plans and paths that the changed configurations are part of; all of them where other definitions changed."""
        after = self.catalog
        if before.users is not after.users:
            self._senders = {}
        same = (before.users is after.users, before.producers is after.producers, before.consumers is after.consumers)
        if not all(same):
            self._forget_paths()
            self._plans, self._shared, self._considered = {}, {}, {}
            for route in self._routes.values():
                route.exits = None
            return
        for plan in self._plans.values():
            plan.addressed = {}
        for name in configurations:
            old = self._routes.get(name)
            # Producers that share their paths have the same configurations, so all of them had this one.
            for producer in () if old is None else old.configuration.spec.producers:
                plan_before = self._plans.pop(producer, None)
                if plan_before is not None:
                    self._drop_shared(plan_before)
        # Only now: a plan that gains one configuration and loses another must go by the loop above, with its paths.
        for name in configurations:
            if name in after.configurations:
                for producer in after.configurations[name].spec.producers:
                    self._plans.pop(producer, None)
        self._considered = {plan.slots: plan.considered for plan in self._plans.values()}

    def _drop_shared(self, plan: ProducerPlan) -> None:
        shared = self._shared.pop((plan.world, plan.slots), None)
        if shared is not None:
            self._path_count -= len(shared.paths)
            self._forgotten += shared.paths, shared.routes

    def tidy(self) -> None:
        """Frees some of the forgotten paths. Call it between slices of work."""
        left = _FREED_AT_ONCE
        while self._forgotten and left:
            paths = self._forgotten[-1]
            while paths and left:
                paths.popitem()
                left -= 1
            if not paths:
                self._forgotten.pop()

    def _forget_paths(self) -> None:
        for shared in self._shared.values():
            self._forgotten += shared.paths, shared.routes
            shared.paths, shared.routes = {}, {}
        for plan in self._plans.values():
            plan.paths = plan.shared.paths
        self._path_count = 0

    def _add(self, configuration: Configuration) -> None:
        steps = [self._step(name) for name in configuration.spec.filters]
        route = Route.of(configuration, [step for step in steps if step is not None])
        route.slot = self._index.add(dict.fromkeys(configuration.spec.producers), route.looked_up())
        self._routes[configuration.name] = self._slots[route.slot] = route

    def _remove(self, name: str) -> None:
        route = self._routes.pop(name, None)
        if route is not None:
            self._index.remove(route.slot, dict.fromkeys(route.configuration.spec.producers), route.looked_up())
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
        route.missing_users = tuple(username for username in route.configuration.spec.users if username not in users)
        if route.missing_users:
            self._incomplete |= 1 << route.slot
        else:
            self._incomplete &= ~(1 << route.slot)


def _problem(reason: Reason, text: str) -> Path:
    return Path(problem=(reason, text))


def _nobody(world: str, name: str, found: Ambiguous | None) -> Path:
    if found is None:
        return _problem("unknown_receiver", f"nobody is called {name!r} in the world {world!r}")
    return _problem("ambiguous_receiver", f"{name!r} in the world {world!r} may be {', '.join(found.usernames)}")


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """The names whose objects are not the same in both."""
    if before is after:
        return set()
    return {name for name, value in after.items() if before.get(name) is not value} | (before.keys() - after.keys())
