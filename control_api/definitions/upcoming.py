"""Upcoming: the schedule of a configuration in words, and its next due times, for REST and GraphQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from control_api.definitions.services import Services
from notifier.definition import ConfigurationSpec
from notifier.record import JsonObject, now
from notifier.schedule import Schedule

MAX_COUNT = 100


@dataclass(frozen=True, kw_only=True)
class Upcoming:
    """When a configuration will run."""

    text: str | None = None  # for people, with the zone; none: it has no schedule
    next: tuple[datetime, ...] = ()  # due times in UTC, in order; empty while the configuration is not enabled


async def upcoming(services: Services, name: str, count: int = 5, after: datetime | None = None) -> Upcoming:
    """The next `count` due times of a configuration after `after`, by default this moment. Raises UnknownName."""
    return upcoming_of((await services.get("configuration", name)).spec, count, after)


def upcoming_of(stored: JsonObject, count: int, after: datetime | None = None) -> Upcoming:
    """The same of a configuration that was read."""
    spec = ConfigurationSpec.model_validate(stored, extra="ignore")
    if spec.schedule is None:
        return Upcoming()
    schedule = spec.schedule.value()
    due = islice(_after(schedule, after or now()), count if spec.enabled else 0)
    return Upcoming(text=schedule.in_words(), next=tuple(due))


def _after(schedule: Schedule, start: datetime) -> Iterator[datetime]:
    while True:
        start = schedule.next_due(start)
        yield start
