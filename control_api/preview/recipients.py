"""Recipients: for whom a configuration would make a text of a message, and by which consumers. Filters are not asked.

Pure: whether a message passes and is in time, explanations say (`control_api.explain`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from control_api.access.teams import Hidden
from control_api.explain.ways import Told, Way, as_mapped, delivery_of, ways
from filters.chain import told as told_of
from filters.decision import Judge, missing, missing_user
from notifier.catalog import Catalog, Configuration
from notifier.delivery import Delivery
from notifier.user import User

_NAMED = 10  # users who cannot be told, in words


@dataclass(frozen=True, kw_only=True)
class Addressed:
    """A delivery, or why there is none."""

    way: Way
    delivery: Delivery | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of one configuration of a catalog."""

    catalog: Catalog
    configuration: Configuration
    told: Told
    at: datetime
    hidden: Hidden
    consumer: str | None = None  # this one alone


@dataclass(frozen=True, kw_only=True)
class Addressees:
    """The deliveries that a configuration makes of a message."""

    made: Sequence[Addressed] = ()  # the first ones
    omitted: int = 0  # further ones
    problem: str | None = None  # what is wrong with the message or the configuration as a whole


def addressed(asked: Asked, limit: int) -> Addressees:
    """What the configuration makes of the message, whatever its filters say. Does not raise, whatever a plugin does."""
    catalog, message = asked.catalog, asked.told.message
    if message.producer not in catalog.producers or message.producer in asked.hidden.of("producer"):
        return Addressees(problem=missing(catalog, "producer", message.producer))
    told, _, fault = as_mapped(catalog, asked.told)
    if fault is not None:
        return Addressees(problem=fault.text)
    asked, message = replace(asked, told=told), told.message
    judge = Judge(catalog)
    sender, receiver, unknown = judge.people(message)
    if unknown is not None:
        return Addressees(problem=unknown.text)
    users, unusable = judge.recipients(asked.configuration, receiver)
    hidden = asked.hidden.of("user")
    problems = [missing_user(catalog, name) for name in unusable if name not in hidden][:_NAMED]
    if message.producer not in asked.configuration.spec.producers:
        problems.insert(0, f"{asked.configuration.name} does not consider messages of the producer {message.producer}")
    if not asked.configuration.spec.consumers:
        problems.append("it has no consumer")
    made: list[Addressed] = []
    omitted = 0
    try:
        for way in _ways(asked, [user for user in users if user is None or user.username not in hidden]):
            if len(made) < limit:
                made.append(_addressed(asked, way, sender))
            else:
                omitted += 1
    except Exception as error:  # a plugin's fault
        problems.append(f"a consumer's plugin failed: {told_of(error)}")
    return Addressees(made=made, omitted=omitted, problem="; ".join(problems) or None)


def _ways(asked: Asked, users: Sequence[User | None]) -> Iterator[Way]:
    hidden = asked.hidden
    for way in ways(asked.catalog, asked.configuration, users, to_all=asked.told.message.receiver is None):
        if way.consumer not in hidden.of("consumer") and asked.consumer in (None, way.consumer):
            yield way.without(hidden.of("user"))


def _addressed(asked: Asked, way: Way, sender: User | None) -> Addressed:
    if way.lane is None:
        return Addressed(way=way, problem=way.text)
    consumer = asked.catalog.consumers[way.consumer]
    try:
        delivery = delivery_of(way, asked.told, asked.configuration, consumer, sender, asked.at)
    except Exception as error:  # a plugin's fault
        return Addressed(way=way, problem=f"its plugin failed: {told_of(error)}")
    return Addressed(way=way, delivery=delivery)
