"""PayloadPreview: which messages a producer would make of a payload. REST, GraphQL and the command line call this.

Nothing is written and no service is asked, so a subscription of Amazon SNS is not confirmed either.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.definitions.services import Services
from control_api.migrate import upgraded
from control_api.registry import load_registry
from notifier.errors import FieldError, InputError, RecordError
from notifier.message import check_message_object
from notifier.record import JsonObject
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.validation import validated
from producers.payload_mapping import Mapped, NamedMapping, PayloadMapping
from producers.push import unmapped

SHOWN = 50  # messages of one answer
_Word = Annotated[str, StringConstraints(max_length=8192)]


class PayloadQuery(BaseModel):
    """A payload as a service would send it."""

    model_config = ConfigDict(extra="forbid")

    payload: Any = Field(description="The body of a hook as JSON, or a text.")
    headers: Annotated[dict[_Word, _Word], Field(max_length=100)] | None = Field(
        None, description="Headers of the hook that the mapping looks at; case does not matter."
    )
    mapping: NamedMapping | None = Field(
        None, description="The mapping as it might be: a name or an object. None: that of the producer."
    )


async def preview_payload(services: Services, actor: Actor, name: str, query: PayloadQuery) -> JsonObject:
    """`{"messages": [{…}], "problems": ["message 1: title: finds nothing"], "omitted": 0}`; the first 50 messages.

    Raises UnknownName, and InputError for a producer that has no mapping.
    """
    spec = (await services.seen_by(actor).get("producer", name)).spec
    model = services.registry.get("producer", spec["type"]).Parameters
    if "mapping" not in model.model_fields:
        words = (
            f"the producer {name!r} has the type {spec['type']!r}, which reads what one service sends, by no mapping"
        )
        raise InputError(FieldError("", words))
    mapping = query.mapping
    stored = spec.get("parameters", {}).get("mapping")
    if mapping is None and stored is not None:
        mapping = validated(PayloadQuery, {"payload": None, "mapping": stored}, extra="ignore").mapping
    mapped = await asyncio.to_thread(_mapped, name, mapping, query.payload, query.headers or {})
    messages = [{"producer": name, **message} for message in mapped.messages[:SHOWN]]
    problems = [*mapped.problems, *_refusals(messages)]
    return {"messages": messages, "problems": problems, "omitted": len(mapped.messages) - len(messages)}


def _mapped(name: str, mapping: Any, payload: object, headers: Mapping[str, str]) -> Mapped:
    if mapping is None:
        return Mapped(messages=[unmapped(payload, name)], problems=[])
    return PayloadMapping(mapping).read(payload, headers)


def _refusals(messages: list[JsonObject]) -> list[str]:
    """Why a message would be refused. Only one that a hook is as it came can be."""
    refusals = []
    for number, message in enumerate(messages, 1):
        try:
            check_message_object(message)
        except RecordError as error:
            refusals.append(f"message {number}: {error}")
    return refusals


async def preview_payload_command(settings: Settings, name: str, query: PayloadQuery) -> JsonObject:
    """`notifier producer preview`, with or without a running API. Raises as `preview_payload` does, and DatabaseError."""
    async with upgraded(settings) as database:
        services = Services(database, load_registry(), load_seal(settings))
        return await preview_payload(services, COMMAND_LINE, name, query)
