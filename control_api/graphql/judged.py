"""The GraphQL fields of definitions that are worked out when they are asked for: next runs, and whether a person works."""

from datetime import datetime
from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import TypeAdapter, ValidationError

from control_api.definitions.upcoming import MAX_COUNT, upcoming_of
from control_api.definitions.working import working_of
from control_api.graphql.context import GraphQLContext, guarded
from notifier.bounds import BoundedTime
from notifier.errors import FieldError, InputError
from notifier.outcome import Kind
from notifier.record import JsonObject, rfc3339

_MOMENT: TypeAdapter[Any] = TypeAdapter(BoundedTime)


class Upcoming(graphene.ObjectType):  # type: ignore[misc]  # graphene has no types
    """When a configuration will run."""

    text = graphene.String(description="The schedule in words, with its zone; null: it has none.")
    next = graphene.List(
        graphene.NonNull(graphene.String), required=True, description="Due times; none while it is not enabled."
    )


class Working(graphene.ObjectType):  # type: ignore[misc]  # graphene has no types
    """Whether a person works."""

    working = graphene.Boolean(required=True)
    reason = graphene.String(required=True, description="`ok`, `on_leave` or `outside_hours`.")


def judged_fields(kind: Kind) -> dict[str, Any]:
    """The fields of a kind, by name in snake_case."""
    if kind == "configuration":
        count = graphene.Argument(graphene.Int, default_value=5, description=f"How many due times, 1 to {MAX_COUNT}.")
        field = graphene.Field(
            Upcoming, args={"count": count}, resolver=guarded("read", _upcoming), description="Its next runs."
        )
        return {"upcoming": field}
    if kind == "user":
        at = graphene.Argument(graphene.String, description="The moment in RFC 3339; by default this one.")
        field = graphene.Field(
            Working, args={"at": at}, resolver=guarded("read", _working), description="Whether the person works."
        )
        return {"working": field}
    return {}


async def _upcoming(root: JsonObject, context: GraphQLContext, count: int | None = None) -> JsonObject:
    count = 5 if count is None else count
    if not 1 <= count <= MAX_COUNT:
        raise InputError(FieldError("/count", f"must be between 1 and {MAX_COUNT}"))
    context.spend(count)
    found = upcoming_of(root, count)
    return {"text": found.text, "next": [rfc3339(due) for due in found.next]}


async def _working(root: JsonObject, context: GraphQLContext, at: str | None = None) -> JsonObject:
    moment: datetime | None = None
    if at is not None:
        try:
            moment = _MOMENT.validate_python(at)
        except ValidationError:
            raise InputError(FieldError("/at", "must be a time with a zone: 2026-11-23T09:00:00Z")) from None
    found = working_of(root["_name"], root, moment)
    return {"working": found.working, "reason": found.reason}
