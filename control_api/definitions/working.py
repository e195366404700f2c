"""Working: whether a person works at a moment, for REST and GraphQL, as the filter `receiver_working` judges."""

from dataclasses import dataclass
from datetime import datetime

from control_api.definitions.services import Services
from notifier.catalog import user_of
from notifier.definition import UserSpec
from notifier.outcome import Reason
from notifier.record import JsonObject, now


@dataclass(frozen=True, kw_only=True)
class Working:
    """Whether a person works; `reason` is `ok`, or why not: `on_leave`, `outside_hours`."""

    working: bool
    reason: Reason


async def working(services: Services, username: str, at: datetime | None = None) -> Working:
    """Whether the user works at `at`, by default this moment. Raises UnknownName."""
    stored = await services.get("user", username)
    return working_of(stored.name, stored.spec, at)


def working_of(username: str, stored: JsonObject, at: datetime | None = None) -> Working:
    """The same of a user who was read."""
    user = user_of(username, UserSpec.model_validate(stored, extra="ignore"))
    works = user.works_at(at or now())
    return Working(working=works, reason="ok" if works else "on_leave" if user.on_leave else "outside_hours")
