"""Recipients: for whom a configuration would make a text of a message, and by which consumers. Filters are not asked.

Pure: whether a message passes and is in time, explanations say (`control_api.explain`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control_api.access.teams import Hidden
from control_api.explain.ways import Told, Way, delivery_of, ways
from filters.chain import told as told_of
from filters.decision import Judge, missing, missing_user
from notifier.catalog import Catalog, Configuration
from notifier.delivery import Delivery
from notifier.plugin import Consumer
from notifier.user import User


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


def addressed(asked: Asked) -> tuple[list[Addressed], str | None]:
    """The deliveries that the configuration makes of the message, whatever its filters say; and what is wrong with it as a whole.

    Does not raise, whatever a plugin does.
    """
    catalog, message = asked.catalog, asked.told.message
    if message.producer not in catalog.producers or message.producer in asked.hidden.of("producer"):
        return [], missing(catalog, "producer", message.producer)
    judge = Judge(catalog)
    sender, receiver, unknown = judge.people(message)
    if unknown is not None:
        return [], unknown.text
    users, unusable = judge.recipients(asked.configuration, receiver)
    hidden = asked.hidden.of("user")
    seen = [user for user in users if user is None or user.username not in hidden]
    problems = [missing_user(catalog, name) for name in unusable if name not in hidden]
    if message.producer not in asked.configuration.spec.producers:
        problems.insert(0, f"{asked.configuration.name} does not consider messages of the producer {message.producer}")
    if not asked.configuration.spec.consumers:
        problems.append("it has no consumer")
    found: list[Addressed] = []
    try:
        found.extend(_deliveries(asked, seen, sender))
    except Exception as error:  # a plugin's fault
        problems.append(f"a consumer's plugin failed: {told_of(error)}")
    return found, "; ".join(problems) or None


def _deliveries(asked: Asked, users: list[User | None], sender: User | None) -> Iterator[Addressed]:
    hidden = asked.hidden
    for way in ways(asked.catalog, asked.configuration, users, to_all=asked.told.message.receiver is None):
        if way.consumer in hidden.of("consumer") or asked.consumer not in (None, way.consumer):
            continue
        if way.lane is None:
            yield Addressed(way=way, problem=way.text)
        else:
            consumer = asked.catalog.consumers[way.consumer]
            yield _delivery(asked, way.without(hidden.of("user")), consumer, sender)


def _delivery(asked: Asked, way: Way, consumer: Consumer[Any], sender: User | None) -> Addressed:
    try:
        delivery = delivery_of(way, asked.told, asked.configuration, consumer, sender, asked.at)
    except Exception as error:  # a plugin's fault
        return Addressed(way=way, problem=f"its plugin failed: {told_of(error)}")
    return Addressed(way=way, delivery=delivery)
