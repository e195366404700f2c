"""Kafka: makes messages of the records of another topic, of this installation's cluster or of any other.

The client is `producers.kafka.reading`'s, what a record says `producers.kafka.record`'s, and schemas are looked up by
`producers.kafka.registry`. The installation's own topics are refused, whatever the cluster: a message that makes itself again
would never end. Its credentials are not lent either: the parameters name those that count.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import msgspec
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from notifier import Context, Feed, JsonObject, Permanent, Producer, WorldParameters
from notifier.errors import InvalidRecord, RecordError, Retryable
from notifier.message import read_message
from notifier.plugin.cluster_parameters import WAYS, ClusterParameters, Servers, TopicName, read_servers
from notifier.record import kafka_time, rfc3339
from producers.kafka.record import Format, Read, read_headers, read_value, schema_id
from producers.payload_mapping import Mapping as FieldMapping
from producers.payload_mapping import NamedMapping, PayloadMapping

if TYPE_CHECKING:  # aiokafka takes long to import, see `_imported`
    from aiokafka import ConsumerRecord

    from notifier.kafka.cluster import ClusterWay
    from producers.kafka.registry import Schema

logger = logging.getLogger(__name__)

_PIECE_S = 0.25  # of reading records, after which what was read is written
_WITH_SCHEMA = ("avro", "json_schema")

Item = JsonObject | RecordError


def _check_registry(url: str) -> str:
    if not url.startswith(("http://", "https://")) or "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("must be http://host or https://host; name and password go to registry_username and _password")
    return url.rstrip("/")


class KafkaParameters(ClusterParameters, WorldParameters):
    """Parameters of a Kafka producer."""

    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = {
        **dict.fromkeys(WAYS, ("password",)),
        "proxy": ("password", "registry_password"),
        "registry": ("registry_password",),
    }

    topic: TopicName = Field(description="Topic whose records are told; it has to be there.", examples=["deployments"])
    servers: Servers | None = Field(
        None,
        description="Brokers to begin with, `host:port,…`; absent: those of this installation.",
        examples=["kafka-1.example:9092,kafka-2.example:9092"],
    )
    group: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] | None = Field(
        None, description="Consumer group that it reads as; absent: `notifier-producer-` and the producer's name."
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a new group begins: with the oldest record there is, or with the next one."
    )
    format: Format = Field(
        "auto",
        description="What the values are. `auto`: CloudEvents where headers or fields say so, else JSON, else text, and Avro or"
        " JSON Schema where there is a `registry`.",
    )
    mapping: NamedMapping | None = Field(
        None,
        description="Which part of a value is which field of a message: the name of a ready mapping, or JMESPath for each field."
        " Absent: an object that is a message is one, any other value is the content of one.",
        examples=[{"content": "text", "receiver": "owner"}],
    )
    registry: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_registry)] | None = Field(
        None, description="Address of the schema registry.", examples=["https://registry.example"]
    )
    registry_username: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="Name to sign in with at the registry."
    )
    registry_password: SecretStr | None = Field(None, description="Password of `registry_username`.")

    @model_validator(mode="after")
    def _check_fit(self) -> Self:
        if self.format in _WITH_SCHEMA and self.registry is None:
            raise ValueError(f"format {self.format} needs registry, the address of the schema registry")
        if self.servers is None and self.proxy is not None:
            raise ValueError("proxy is for servers of others, and there are none")
        return self


class Kafka(Producer[KafkaParameters]):
    """Makes messages of the records of another Kafka topic, of this cluster or another: JSON, text, CloudEvents, Avro.

    Runners share the partitions as a consumer group. What cannot be read is a dead letter and stops nothing.
    """

    type = "kafka"
    Parameters = KafkaParameters
    pull = False
    follows = True

    async def follow(self, context: Context, feed: Feed) -> None:
        """Reads on from where the group is. An offset is committed once the messages of its record are acknowledged."""
        from producers.kafka.reading import Place, Reading

        self._refuse_own(context)
        parameters = self.parameters
        place = Place(topic=parameters.topic, group=self._group(context), start=parameters.start)
        async with Reading(self._way(context), place) as reading, self._registry(context) as registry:
            while True:
                records = await reading.poll()
                numbers = {number for number in map(self._schema_id, records) if number is not None}
                schemas = await registry.schemas(numbers)
                while records:
                    items, count = await asyncio.to_thread(self._read, records, schemas, context.name)
                    await feed.write(items)
                    await reading.told(records[:count])
                    records = records[count:]

    async def check(self, context: Context) -> None:
        """Connects, signs in and looks the topic up, and asks the registry. Raises Permanent or Retryable."""
        from producers.kafka.reading import prepare

        self._refuse_own(context)
        way = self._way(context)
        await way.look_up()
        await prepare(way, None, self.parameters.topic)
        async with self._registry(context) as registry:
            await registry.check()

    # --- records ---

    def _read(
        self, records: "Sequence[ConsumerRecord]", schemas: "Mapping[int, Schema | RecordError]", name: str
    ) -> tuple[list[Item], int]:
        """The items of the first of some records, and how many records those are. For a thread of its own."""
        items: list[Item] = []
        began = time.monotonic()
        for count, record in enumerate(records, 1):
            items += self.items(record, schemas, name)
            if time.monotonic() - began > _PIECE_S:
                return items, count
        return items, len(records)

    def items(
        self, record: "ConsumerRecord", schemas: "Mapping[int, Schema | RecordError]", name: str
    ) -> Sequence[Item]:
        """The messages that a record is, with `<topic>-<partition>-<offset>` as the id, or why it is none. Raises nothing."""
        place = f"{record.topic}-{record.partition}-{record.offset}"
        try:
            number = self._schema_id(record)
            found = self._plain(record) if number is None else self._by_schema(record, schemas[number])
            messages = self._messages(found, name)
        except RecordError as error:
            error.data, error.id = record.value, place
            return [error]
        except Exception as error:  # a fault of ours costs this record
            logger.warning("The record %s cannot be read.", place, exc_info=error, extra={"action": "follow"})
            return [InvalidRecord(f"cannot be read: {type(error).__name__}", record.value, place)]
        written_at = kafka_time(record.timestamp)
        for number, message in enumerate(messages, 1):
            message.setdefault("id", place if len(messages) == 1 else f"{place}-{number}")
            if written_at is not None:
                message.setdefault("occurred_at", rfc3339(written_at))
        return messages

    def _plain(self, record: "ConsumerRecord") -> Read:
        if self.parameters.format in _WITH_SCHEMA:
            raise InvalidRecord("does not begin with the id of a schema, as the serializers of a registry write it")
        return read_value(record.value, read_headers(record.headers), self.parameters.format)

    def _by_schema(self, record: "ConsumerRecord", schema: "Schema | RecordError") -> Read:
        if isinstance(schema, RecordError):
            raise InvalidRecord(str(schema))
        if self.parameters.format not in ("auto", schema.format):
            raise InvalidRecord(
                f"has a schema of the type {schema.format}, and the producer reads {self.parameters.format}"
            )
        return Read(payload=schema.read(record.value[5:]), headers=read_headers(record.headers))

    def _messages(self, found: Read, name: str) -> list[JsonObject]:
        if self.parameters.mapping is None:
            if found.is_event:
                return _EVENTS.messages(found.payload, found.headers)
            message = _whole_message(found.payload, name)
            if message is not None:
                return [message]
        return self._mapping.messages(found.payload, found.headers)

    @cached_property
    def _mapping(self) -> PayloadMapping:
        return PayloadMapping(self.parameters.mapping)

    def _schema_id(self, record: "ConsumerRecord") -> int | None:
        """The schema that a record is read by; None: by none."""
        parameters = self.parameters
        if parameters.registry is None or parameters.format not in ("auto", *_WITH_SCHEMA):
            return None
        return schema_id(record.value)

    # --- the way there ---

    def _way(self, context: Context) -> "ClusterWay":
        from notifier.kafka.cluster import ClusterWay, cluster_of

        own = self.parameters.servers is None
        servers = context.own_servers if own else self.parameters.servers
        if servers is None:
            raise Retryable("connection", "the Kafka broker of this installation is not there now")
        return ClusterWay(cluster_of(self.parameters, read_servers(servers), trusted=own), context.network)

    def _registry(self, context: Context) -> Any:
        from producers.kafka.registry import Registry

        parameters = self.parameters
        password = parameters.registry_password
        return Registry(
            parameters.registry,
            context.network,
            proxy=parameters.proxy_url(),
            username=parameters.registry_username,
            password=None if password is None else password.get_secret_value(),
        )

    def _group(self, context: Context) -> str:
        return self.parameters.group or f"notifier-producer-{context.name}"

    def _refuse_own(self, context: Context) -> None:
        for what, name in (("topic", self.parameters.topic), ("group", self._group(context))):
            if context.own_topic(name):
                raise Permanent("forbidden", f"{name} is a {what} of Notifier's own; name another one")


_EVENTS = PayloadMapping(FieldMapping(ready="cloudevents"))


def _whole_message(payload: object, name: str) -> JsonObject | None:
    """The message that a payload is, as it would be pushed; None where it is none."""
    if not isinstance(payload, dict) or not isinstance(payload.get("content"), str):
        return None
    try:
        _, data = read_message(msgspec.json.encode({**payload, "producer": name}))
        message: JsonObject = msgspec.json.decode(data)
    except (RecordError, UnicodeEncodeError, RecursionError, msgspec.DecodeError):
        return None
    del message["producer"]
    return message
