"""SendTest: one message by one consumer, now, and what its service answered. REST, GraphQL and the command line call this.

A delivery worker sends it, as it sends all others: with its credential, its pace and its sandbox. So what is tried is what will
be used. The delivery belongs to no configuration (`notifier.delivery.SEND_TEST`) and has a lane of its own, so it waits for no
other one. It expires soon, goes to no fallback and becomes no dead letter; its attempts are in the history.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import uuid6
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from control_api.access.actor import COMMAND_LINE, Actor
from control_api.access.entry import entry
from control_api.definitions.services import Services
from control_api.migrate import upgraded
from control_api.registry import load_registry
from control_api.statuses import Statuses
from notifier.attempt import Attempt
from notifier.catalog import user_of
from notifier.database import Database
from notifier.definition import UserSpec
from notifier.delivery import SEND_TEST, Delivery, delivery_id
from notifier.errors import BrokerError, Conflict, FieldError, InputError, RecordError, UnknownName
from notifier.kafka import ensure_topics, kafka_consumer, kafka_producer
from notifier.message import Message
from notifier.plugin import Consumer
from notifier.reach import called, lacks_address
from notifier.record import JsonObject, now, rfc3339
from notifier.seal import load_seal
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, deliveries
from notifier.user import User
from notifier.validation import validated

PRODUCER = "notifier"
ANSWER_S = 20.0  # that an answer is waited for
LIFETIME_S = 60.0  # of the delivery
_PAUSED_S = 4.0  # that it is waited for where the consumer is paused or no worker reports: that may change this moment
_POLL_S = 0.5
_KAFKA_S = 10.0  # for one exchange with Kafka
_NO_NUL = r"^[^\x00]*$"

_Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=_NO_NUL)]


class TestInput(BaseModel):
    """What to send, and to whom."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, StringConstraints(min_length=1, max_length=150, pattern=_NO_NUL)] | None = Field(
        None, description="Who gets it. A consumer that writes to people needs one; another one names the user only."
    )
    text: _Text | None = Field(None, description="What it says; absent: that it is a test.")


@dataclass(frozen=True, kw_only=True)
class SendTest:
    """Sends tests."""

    settings: Settings
    database: Database
    services: Services
    statuses: Statuses

    async def send(self, actor: Actor, name: str, asked: TestInput) -> JsonObject:
        """Sends one message by the consumer, and answers what became of its first try.

        `{"delivery", "state": "tried"|"waiting", "outcome", "reason", "detail", "started_at", "ended_at"}`. `waiting`: it was
        not tried in time; `detail` says why, and the rest is null. Raises UnknownName, OtherTeam, Conflict where the consumer
        cannot be used, InputError at `/user`, and BrokerError.
        """
        await self.services.require_change(actor, "consumer", name)
        consumer = await self._consumer(actor, name)
        user = None if asked.user is None else await self._user(actor, asked.user)
        delivery = test_delivery(name, consumer, user, asked.text or f"This is a test of the consumer {name}.")
        # Before the record: no test may be without its entry. An entry without its test says that somebody tried.
        async with self.database.write() as session:
            after = {"delivery": delivery.id}
            session.add(entry(actor.name, "test", "consumer", name, after=after))
        try:
            # Clients of its own: a topic that is deleted in this moment must not hold up what is pushed.
            async with (
                kafka_producer(self.settings, linger_ms=0) as producer,
                self._attempts(delivery.id, producer) as attempts,
            ):
                await self._write(delivery, consumer.parameters.partitions, producer)
                attempt = await self._first(attempts, name, delivery.id)
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerError(f"the Kafka broker does not answer: {str(error) or type(error).__name__}") from None
        return _tried(attempt) if attempt is not None else self._waiting(name, delivery.id)

    async def _consumer(self, actor: Actor, name: str) -> Consumer[Any]:
        spec = (await self.services.seen_by(actor).get("consumer", name)).spec
        try:
            # With its secrets sealed, as the router has it: what is asked of it needs none.
            found = self.services.registry.build("consumer", name, spec["type"], spec.get("parameters", {}), None)
        except InputError as error:
            raise Conflict(f"the consumer {name} cannot be used: {error}") from None
        assert isinstance(found, Consumer)
        return found

    async def _user(self, actor: Actor, name: str) -> User:
        try:
            document = (await self.services.seen_by(actor).get("user", name)).document
        except UnknownName as error:
            raise InputError(FieldError("/user", str(error))) from None
        spec = {field: value for field, value in document.items() if field != "username"}
        return user_of(document["username"], validated(UserSpec, spec, extra="ignore"))

    @asynccontextmanager
    async def _attempts(self, id_: str, producer: AIOKafkaProducer) -> AsyncIterator[AIOKafkaConsumer]:
        """Reads the partition in which the attempts of a delivery will lie, from its end."""
        topic = self.settings.topic_prefix + ATTEMPTS.name
        async with asyncio.timeout(_KAFKA_S):
            await ensure_topics(self.settings, [ATTEMPTS])
            numbers = sorted(await producer.partitions_for(topic))
        async with kafka_consumer(self.settings) as consumer:
            place = TopicPartition(topic, DefaultPartitioner()(id_.encode(), numbers, numbers))
            consumer.assign([place])
            consumer.seek(place, (await consumer.end_offsets([place]))[place])
            yield consumer

    async def _write(self, delivery: Delivery, partitions: int, producer: AIOKafkaProducer) -> None:
        topic = deliveries(delivery.consumer, partitions)
        async with asyncio.timeout(_KAFKA_S):
            await ensure_topics(self.settings, [topic])
            name = self.settings.topic_prefix + topic.name
            await producer.send_and_wait(name, delivery.encode(), key=delivery.lane.encode())

    async def _first(self, attempts: AIOKafkaConsumer, name: str, id_: str) -> Attempt | None:
        """The first attempt; None where there is none in time."""
        loop = asyncio.get_running_loop()
        began, key = loop.time(), id_.encode()
        while loop.time() < began + ANSWER_S:
            for records in (await attempts.getmany(timeout_ms=int(_POLL_S * 1000))).values():
                for record in records:
                    if record.key == key and record.value is not None:
                        try:
                            return Attempt.decode(record.value)
                        except RecordError:  # another client's
                            continue
            if loop.time() > began + _PAUSED_S and (self.statuses.of_consumer(name) is not None or not self._works()):
                return None
        return None

    def _works(self) -> bool:
        """Whether a delivery worker reports that it works."""
        return any(one.role == "delivery" and one.state == "ready" for one in self.statuses.present())

    def _waiting(self, name: str, id_: str) -> JsonObject:
        problem = self.statuses.problem("consumer", name)
        detail = f"it was not tried so far: the consumer is {problem}" if problem else _NOBODY
        return {
            "delivery": id_,
            "state": "waiting",
            **dict.fromkeys(("outcome", "reason")),
            "detail": f"{detail}; it expires within a minute",
            **dict.fromkeys(("started_at", "ended_at")),
        }


_NOBODY = "no delivery worker has tried it so far; `notifier status` says whether one works"


def test_delivery(name: str, consumer: Consumer[Any], user: User | None, text: str) -> Delivery:
    """The delivery of a test. Raises InputError at `/user` where the consumer needs one, or does not reach this one."""
    id_ = f"test/{uuid6.uuid7()}"
    address = None
    if not consumer.fixed_address():
        if user is None:
            raise InputError(FieldError("/user", f"say who gets it: the consumer {name} writes to people"))
        address = consumer.address(user)
        if address is None:
            raise InputError(FieldError("/user", lacks_address(user.username, name, consumer.world_of())))
    receiver = None if user is None else called(consumer, user)
    at = now()
    message = Message(producer=PRODUCER, id=id_, title="Test", content=text, severity="info", occurred_at=at)
    recipient = None if user is None else user.username
    return Delivery(
        id=delivery_id(PRODUCER, id_, SEND_TEST, name, recipient),
        configuration=SEND_TEST,
        configuration_version=0,
        consumer=name,
        lane=f"{SEND_TEST}/{id_}",
        message=msgspec.Raw(message.encode()),
        message_id=id_,
        recipient=recipient,
        recipients=() if recipient is None else None,
        address=address,
        receiver=receiver,
        expires_at=at + timedelta(seconds=LIFETIME_S),
    )


def _tried(attempt: Attempt) -> JsonObject:
    return {
        "delivery": attempt.delivery,
        "state": "tried",
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "detail": attempt.detail,
        "started_at": rfc3339(attempt.started_at),
        "ended_at": rfc3339(attempt.ended_at),
    }


async def send_test_command(settings: Settings, name: str, asked: TestInput) -> JsonObject:
    """`notifier send-test`, with or without a running API. Raises as `SendTest.send` does, and DatabaseError."""
    statuses = Statuses(settings)
    async with upgraded(settings) as database:
        services = Services(database, load_registry(), load_seal(settings))
        sending = SendTest(settings=settings, database=database, services=services, statuses=statuses)
        await statuses.start()
        try:
            return await sending.send(COMMAND_LINE, name, asked)
        finally:
            await statuses.stop()
