"""ParkedDeliveries: lists what is parked, shows it whole, and has it cancelled. REST and GraphQL call this.

A parked delivery has one owner, the delivery worker that has its partition. So to cancel is to ask it, see
`notifier.cancelling`.
"""

import asyncio
import heapq
from collections.abc import Iterable
from operator import attrgetter
from typing import Literal

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from pydantic import Field
from sqlalchemy import select

from control_api.access.actor import Actor
from control_api.access.entry import entry
from control_api.access.teams import hidden_from
from control_api.models import DefinitionRow
from control_api.models.record_fields import without_nul
from control_api.page_query import PageQuery, close_cursor, open_cursor
from control_api.parked.waiting import Parked, WaitingDeliveries
from notifier.cancelling import request_headers, request_key
from notifier.database import Database
from notifier.delivery import OWN, Delivery, Why
from notifier.errors import BrokerError, Conflict, FieldError, InputError, RecordError, UnknownName
from notifier.kafka import kafka_consumer, kafka_producer
from notifier.record import JsonObject
from notifier.settings import Settings
from notifier.topics import PARKED

_KAFKA_S = 10.0  # for one exchange with Kafka
_ANSWER_S = 5.0  # that a request to cancel waits for delivery's answer

Order = tuple[float, int, int]  # of `Parked`
_FIRST: Order = (-1.0, -1, -1)
_order = attrgetter("order")


class ParkedQuery(PageQuery):
    """Which parked deliveries; conditions are equalities, and all of them must hold."""

    state: Literal["parked"] = Field("parked", description="Only what is parked is listed.")
    consumer: str | None = None
    configuration: str | None = None
    recipient: str | None = Field(None, description="A username.")
    why: Why | None = Field(None, description="Why it cannot go now.")


class ParkedDeliveries:
    """The parked deliveries, as far as callers see them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._topic = settings.topic_prefix + PARKED.name
        self.waiting = WaitingDeliveries(settings)

    async def start(self) -> None:
        """Begins to follow the topic; returns at once."""
        await self.waiting.start()

    async def stop(self) -> None:
        """Ends that."""
        await self.waiting.stop()

    async def list(self, actor: Actor, query: ParkedQuery) -> tuple[list[JsonObject], str | None]:
        """Those that are due first, and the cursor of the next page. Raises InputError for a cursor that is none."""
        after = _FIRST if query.cursor is None else _opened(query.cursor)
        kept_out = await self._kept_out(actor)
        known = await self.waiting.all()
        found = heapq.nsmallest(query.limit + 1, _matching(known, query, kept_out, after), key=_order)
        shown = found[: query.limit]
        items = [one.answer() for one in shown]
        return items, close_cursor(" ".join(map(repr, shown[-1].order))) if len(found) > len(shown) else None

    async def get(self, actor: Actor, id_: str) -> JsonObject:
        """One of them, with its message. Raises UnknownName, also where it was released in this moment."""
        found = await self._find(actor, id_)
        value = await self._read(found)
        try:
            delivery = None if value is None else Delivery.decode(value)
        except RecordError:
            delivery = None
        if delivery is None:
            raise UnknownName("parked delivery", id_)
        try:
            message = msgspec.json.decode(delivery.message)
        except (msgspec.DecodeError, RecursionError):
            message = None
        recipients = None if delivery.recipients is None else list(delivery.recipients)
        return {**found.answer(), "recipients": recipients, "lane": delivery.lane, "message": message}

    async def cancel(self, actor: Actor, id_: str) -> bool:
        """Has it given up; answers whether that is done. Else it is asked for: no delivery worker has answered so far.

        Raises UnknownName, OtherTeam, Conflict where it was released meanwhile, and BrokerError.
        """
        found = await self._find(actor, id_)
        name = without_nul(found.configuration)  # any Kafka client may write one, and PostgreSQL takes none
        team = select(DefinitionRow.team).where(DefinitionRow.kind == "configuration", DefinitionRow.name == name)
        async with self._database.read() as session:
            actor.require_team(await session.scalar(team), f"the configuration {found.configuration!r}")
        # Before the request: nothing may be cancelled without its entry. An entry without that says that somebody tried.
        async with self._database.write() as session:
            after = {"delivery": without_nul(id_)}
            session.add(entry(actor.name, "cancel", "configuration", name[:150], after=after))
        if (await self.waiting.all()).get(id_) != found:
            raise _released(id_)
        with self.waiting.watched(found) as watch:
            await self._ask(found, actor.name)
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await watch.ended.wait()
            except TimeoutError:
                return False
        if not watch.cancelled:
            raise _released(id_)
        return True

    async def _find(self, actor: Actor, id_: str) -> Parked:
        found = (await self.waiting.all()).get(id_)
        if found is None or found.configuration in await self._kept_out(actor):
            raise UnknownName("parked delivery", id_)
        return found

    async def _kept_out(self, actor: Actor) -> frozenset[str]:
        """The configurations whose deliveries the actor does not see; what the operators are told is of every team."""
        if actor.sees_all:
            return frozenset()
        async with self._database.read() as session:
            hidden = await hidden_from(session, actor)
        return hidden.of("configuration") | OWN

    async def _read(self, found: Parked) -> bytes | None:
        """The record; None where it is gone."""
        place = TopicPartition(self._topic, found.partition)
        try:
            async with asyncio.timeout(_KAFKA_S), kafka_consumer(self._settings) as consumer:
                consumer.assign([place])
                if (await consumer.end_offsets([place]))[place] <= found.offset:
                    return None
                consumer.seek(place, found.offset)
                record = await consumer.getone(place)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(
                f"the topic {self._topic} cannot be read now: {str(error) or type(error).__name__}"
            ) from None
        value: bytes | None = record.value
        return value if record.offset == found.offset else None

    async def _ask(self, found: Parked, by: str) -> None:
        """Writes the request."""
        try:
            async with asyncio.timeout(_KAFKA_S), kafka_producer(self._settings, linger_ms=0) as producer:
                await producer.send_and_wait(
                    self._topic,
                    None,
                    key=request_key(found.id),
                    partition=found.partition,
                    headers=request_headers(found.offset, by),
                )
        except (KafkaError, OSError, TimeoutError) as error:
            text = f"the Kafka broker does not take the request: {str(error) or type(error).__name__}"
            raise BrokerError(text) from None


def _matching(known: dict[str, Parked], query: ParkedQuery, kept_out: frozenset[str], after: Order) -> Iterable[Parked]:
    """Those behind a place of the list. Plain steps, one for each condition: there may be very many of them."""
    found: Iterable[Parked] = known.values()
    if query.cursor is not None:
        found = [one for one in found if one.order > after]
    if kept_out:
        found = [one for one in found if one.configuration not in kept_out]
    for name in ("recipient", "consumer", "configuration", "why"):
        value = getattr(query, name)
        if value is not None:
            of = attrgetter(name)
            found = [one for one in found if of(one) == value]
    return found


def _opened(cursor: str) -> Order:
    parts = open_cursor(cursor).split()
    try:
        due, partition, offset = parts
        return float(due), int(partition), int(offset)
    except ValueError:
        raise InputError(FieldError("/cursor", "is not one that a list answered; begin without a cursor")) from None


def _released(id_: str) -> Conflict:
    return Conflict(f"the delivery {id_[:1000]} was released meanwhile; look at its attempts")
