"""Route: one enabled configuration, compiled, and the steps that its filters become.

What filters look up (`Filter.lookup`) goes into the index (`streams.router.index`); the other filters are asked in the
configuration's order. A filter is looked up only where it drops with the reason `filtered` and stands before the first filter
that has other reasons, so that the recorded reason is the one that the plain chain (`filters.chain`) would give. Which of several
dropping filters is named may differ. Which routes a message takes is left to `streams.router.matcher`.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from filters.chain import FilterFailed, ask, reason_of
from notifier.catalog import Configuration
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter, Lookup
from notifier.user import User
from streams.router.index import Asked, Value

logger = logging.getLogger(__name__)

LABELS = "labels."  # in front of a label's name: its field in the index

Test = Callable[[Any, Message], bool]


class Step:
    """A filter that is asked, compiled as far as it declares. All routes that use the filter share it."""

    __slots__ = ("_states", "_timed", "filter", "label", "name", "reason", "test")

    def __init__(self, name: str, filter_: Filter[Any]) -> None:
        self.name = name
        self.label = b": " + inner_json(name)  # as an attempt names it behind its configuration
        self.filter = filter_
        # A function and its first argument: whether the message alone passes; may raise. None: ask the filter.
        self.test = _test_of(name, filter_)
        # The reason of every drop; None where it varies.
        self.reason: Reason | None = filter_.reason if type(filter_).reason_for is Filter.reason_for else None
        self._timed = True  # whether answers hold for a while; false from the first one that does not
        # Answers that hold, by username: the user, the reason of the drop (None: it passes), and until when.
        # None: there are no answers yet, and most steps never get any.
        self._states: dict[str | None, tuple[User | None, Reason | None, datetime]] | None = None

    def drops(
        self, message: Message, users: frozenset[str], at: datetime, sender: User | None, receiver: User | None
    ) -> Reason | None:
        """The reason why a message is dropped for one receiver; None where it passes. Raises FilterFailed, and nothing else."""
        name = None if receiver is None else receiver.username
        state = None if self._states is None else self._states.get(name)
        if state is not None and state[0] is receiver and at < state[2]:
            return state[1]
        candidate = Candidate(message=message, users=users, at=at, sender=sender, receiver=receiver)
        reason = None if ask(self.name, self.filter, candidate) else reason_of(self.name, self.filter, candidate)
        if self._timed:
            until = self._holds_until(candidate)
            if until is None:
                self._timed = False
            else:
                if self._states is None:
                    self._states = {}
                self._states[name] = receiver, reason, until
        return reason

    def _holds_until(self, candidate: Candidate) -> datetime | None:
        try:
            until = self.filter.holds_until(candidate)
            if until is not None and (not isinstance(until, datetime) or until.tzinfo is None):
                raise TypeError(f"{until!r} is no time with a zone")
            return until
        except Exception:  # a plugin's fault costs speed, and no message
            logger.exception(
                "The filter %s does not say how long it holds and is asked every time.",
                self.name,
                extra={"action": "filter", "filter": self.name},
            )
            return None


def _unknown(argument: None, message: Message) -> bool:
    """The test of a step without one: never passes, so the step is asked."""
    return False


_UNKNOWN: tuple[Test, Any] = _unknown, None


class Route(msgspec.Struct, gc=False, eq=False, kw_only=True):  # there may be many, and none is in a circle
    """A compiled configuration."""

    # What each message of a receiver asks for, side by side in memory.
    takes: int = 0  # the producers whose messages it takes, as bits; the matcher sets them
    hits: int = 0  # messages for one receiver that the index let pass, since `Matcher.tally`
    test: Test | None  # of the first step of `asked`; None: there are no steps
    argument: Any  # the first argument of `test`
    tests: tuple[tuple[Test, Any], ...]  # of the other steps of `asked`
    legs: Any = None  # its ways to its consumers, see `streams.router.exits`; set when it first delivers
    numbers: tuple[int, ...] = ()  # the same producers, each by the place of its bit
    lacking: bool = False  # whether some consumers cannot be used
    hits_of_all: int = 0  # as `hits`, of messages without receiver
    label: bytes = b""  # see `label`
    configuration: Configuration
    chain: tuple[Step, ...]  # all filters
    lookups: tuple[tuple[Step, str, Collection[str | None]], ...]  # steps in the index, with field and values
    asked: tuple[Step, ...]  # steps that are not in the index
    # The same for a message without receiver. Its receivers are the configuration's users, and the index knows no receiver.
    asked_of_all: tuple[Step, ...]
    missing_users: tuple[str, ...] = ()  # users whose definitions cannot be used
    slot: int = -1  # in the index

    @classmethod
    def of(cls, configuration: Configuration, chain: Sequence[Step]) -> "Route":
        """Compiles a configuration with the steps of its filters, in order."""
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
        """The first of these steps that drops a message for a receiver, and why; None where all pass.

        Raises the first FilterFailed where none drops and some fail.
        """
        for step in steps:
            if step.test is not None:
                test, argument = step.test
                try:
                    if test(argument, message):
                        continue
                    if step.reason is not None:
                        return step, step.reason
                except Exception:  # noqa: S110 - `drops`, below, asks the plain way and logs the fault
                    pass
            try:
                reason = step.drops(message, self.configuration.users, at, sender, receiver)
            except FilterFailed:
                for later in steps[steps.index(step) + 1 :]:
                    with suppress(FilterFailed):
                        drop = self.first_drop((later,), message, at, sender, receiver)
                        if drop is not None:
                            return drop
                raise
            if reason is not None:
                return step, reason
        return None

    def looked_up(self) -> list[Asked]:
        """The lookups as the index takes them."""
        return [(field, values, step.filter.parameters.negate) for step, field, values in self.lookups]


def name_of(route: Route) -> str:
    """The configuration's name: the order of routes."""
    return route.configuration.name


def inner_json(text: str) -> bytes:
    """A text as it stands within a JSON string."""
    return msgspec.json.encode(text)[1:-1]


def label(route: Route) -> bytes:
    """The configuration's name within a JSON string."""
    if not route.label:
        route.label = inner_json(route.configuration.name)
    return route.label


def cause(route: Route, step: Step | None, reason: Reason) -> bytes:
    """What an attempt says of a drop, within a JSON string: `cfg: at-work (on_leave)`, the reason where that says more."""
    if step is None:
        return label(route) + b": " + reason.encode()
    if reason == "filtered":
        return label(route) + step.label
    return label(route) + step.label + b" (" + reason.encode() + b")"


def accepts(route: Route, values: Mapping[str, tuple[Value, ...]]) -> bool:
    """Whether the lookups of a route accept a message with these values; the receiver is not looked at."""
    for step, field, accepted in route.lookups:
        if field != "receiver" and any(value in accepted for value in values[field]) is step.filter.parameters.negate:
            return False
    return True


def dropped(routes: Sequence[Route], for_one: Sequence[int], for_all: Sequence[int]) -> dict[str, int]:
    """The recipients whom the index dropped, by configuration, of the messages of each producer; takes the routes' hits.

    Called each second for up to ten thousand routes, so it makes no object that Python's garbage collector tracks.
    """
    found: dict[str, int] = {}
    with_all = any(for_all)
    for route in routes:
        count = -route.hits
        for number in route.numbers:
            count += for_one[number]
        route.hits = 0
        if count < 0:  # hits of messages that are counted next time
            route.hits, count = -count, 0
        if with_all:
            missed = sum([for_all[number] for number in route.numbers]) - route.hits_of_all
            route.hits_of_all = max(0, -missed)
            count += max(0, missed) * (len(route.configuration.usernames) or 1)
        if count:
            found[route.configuration.name] = count
    return found


def _small(values: frozenset[str | None]) -> Collection[str | None]:
    """A set of five takes 700 bytes, and a tuple 80."""
    return tuple(values) if len(values) <= 16 else values


def _lookups(configuration: Configuration, chain: Sequence[Step]) -> dict[Step, Lookup]:
    """The filters that go into the index: one for each field, and none behind a filter that has other reasons."""
    found: dict[Step, Lookup] = {}
    fields: set[str] = set()
    for step in chain:
        filter_ = step.filter
        if filter_.reason != "filtered" or type(filter_).reason_for is not Filter.reason_for:
            break
        try:
            lookup = filter_.lookup(configuration.users)
            if not isinstance(lookup, Lookup | None):
                raise TypeError(f"{lookup!r} is no Lookup")
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
            continue  # a field that the index does not know
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
        # Routes then share the function, which stays in the processor's cache.
        found = test.func, test.args[0]
    return (_not, found) if filter_.parameters.negate else found


def _call(test: Callable[[Message], bool], message: Message) -> bool:
    return test(message)


def _not(test: tuple[Test, Any], message: Message) -> bool:
    return not test[0](test[1], message)
