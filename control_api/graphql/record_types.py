"""Told: the GraphQL types of what nobody writes - attempts, dead letters, runs, ticks, plugins - field by field as in REST."""

from typing import Any

import graphene  # type: ignore[import-untyped]  # graphene has no types

from control_api.graphql.definition_types import object_type
from control_api.graphql.scalars import Json


def attempt() -> Any:
    """The type of an attempt."""
    fields = {
        **_texts("delivery", "producer", "message", "configuration", "consumer", "recipient"),
        "number": graphene.Int(description="From 1."),
        "configuration_version": graphene.Int(),
        **_texts("outcome", "reason", "detail", "started_at", "ended_at", "not_before"),
        "origin": Json(description="Topic, partition and offset of the message."),
    }
    return object_type("Attempt", "One try at a delivery, or why a message was not delivered.", fields)


def dead_letter() -> Any:
    """The type of a dead letter."""
    fields = {
        **_texts("id", "stage", "reason", "error", "topic", "timestamp", "key", "value", "value_base64"),
        "partition": graphene.Int(description="Where the record came from."),
        "offset": graphene.BigInt(description="Where the record came from."),
        "value_omitted": graphene.Boolean(description="It is too large for a list; ask for the dead letter itself."),
        "delivery": graphene.String(description="The delivery's id."),
        "attempts": graphene.Int(description="How often it was tried."),
        **_texts("at", "redriven_at"),
    }
    return object_type("DeadLetter", "A record or a delivery that was given up.", fields)


def run() -> Any:
    """The type of a run."""
    part = object_type(
        "ProducerRun",
        "What one producer did within a run.",
        {**_texts("producer", "state", "error"), "messages": graphene.Int(description="How many it produced.")},
    )
    fields = {
        **_texts("configuration", "scheduled_at", "trigger", "state", "error", "started_at", "ended_at"),
        "producers": graphene.List(graphene.NonNull(part)),
    }
    return object_type("Run", "All the work that one tick causes, and how far it is.", fields)


def tick() -> Any:
    """The type of a tick."""
    return object_type("Tick", "That a configuration is due.", _texts("configuration", "scheduled_at", "trigger"))


def plugin() -> Any:
    """The type of a plugin type."""
    fields = {
        **_texts("kind", "type", "world", "description"),
        "parameters": Json(description="The JSON Schema of its parameters."),
    }
    return object_type("Plugin", "A type of producers, filters or consumers.", fields)


def _texts(*names: str) -> dict[str, Any]:
    return {name: graphene.String() for name in names}
