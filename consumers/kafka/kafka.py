"""Kafka: writes messages to a topic of others, at a cluster that its parameters name.

The client is `consumers.kafka.writing`'s, and what brokers answer means for a delivery is the table in
`consumers.kafka.answers`. The installation's own topics are refused, whatever the cluster: a delivery among deliveries, or a
message that makes itself again, would be no message for anybody. Nor are its own credentials lent: the parameters name those
that count.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints

from notifier import (
    ACCEPTED,
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    Permanent,
    Result,
    Retryable,
)
from notifier.errors import DeliveryError, InputError, RecordError, TemplateFailed
from notifier.outcome import Outcome
from notifier.plugin.cluster_parameters import WAYS, ClusterParameters, Servers, TopicName, read_servers

if TYPE_CHECKING:  # importing it takes time, see `_open`
    from consumers.kafka.writing import Writing
    from notifier.kafka.cluster import Cluster

_Sent: TypeAlias = "tuple[asyncio.Future[Any], str | None]"

_BATCH = 100
_WRITE_S = 20.0  # within which records of a refused batch are written again
_MAX_KEY = 1000  # characters of a key that a template makes
_BESIDE = "not written: the cluster refused it together with others, and it is tried alone"


def _check_template(source: str) -> str:
    from consumers.text.template import check_template  # Jinja takes long to import

    try:
        check_template(source)
    except InputError as error:
        raise ValueError(error.errors[0].detail) from None
    return source


class KafkaParameters(ClusterParameters, ConsumerParameters):
    """Parameters of a Kafka consumer."""

    addresses = dict.fromkeys((*WAYS, "proxy"), ("password",))

    servers: Servers = Field(
        description="Brokers to begin with, `host:port,…`.", examples=["kafka-1.example:9092,kafka-2.example:9092"]
    )
    topic: TopicName = Field(description="Topic that messages are written to; it has to be there.", examples=["alerts"])
    key: Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_check_template)] | None = (
        Field(
            None,
            description="Template of the record's key; absent: the receiver.",
            examples=["{{ message.labels.team }}"],
        )
    )
    value: Literal["message", "text"] = Field(
        "message", description="`message`: its JSON as it came; `text`: what the template makes, or the default text."
    )


class Kafka(Consumer[KafkaParameters]):
    """Writes messages as records to a topic of others, at any Kafka cluster, the key by a template."""

    type = "kafka"
    Parameters = KafkaParameters

    def __init__(self, parameters: KafkaParameters) -> None:
        super().__init__(parameters)
        self._writing: Writing | None = None

    def batch(self) -> int:
        """Many, which are on their way to the brokers at the same time."""
        return _BATCH

    def timeout_s(self) -> float:
        """Seconds that connecting and writing may take, the tries of the client within them."""
        return 5 * _WRITE_S

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Writes the records, in order. Raises Retryable or Permanent where none can be, as `consumers.kafka.answers` says.

        Brokers refuse a batch as a whole. So each record of one that is refused is written again, alone.
        """
        self._refuse_own(context)
        loop = asyncio.get_running_loop()
        until = loop.time() + _WRITE_S
        writing = await self._open(context)
        await writing.ready(self.parameters.topic)
        refused: set[str] = set()
        results = await self._written(deliveries, context, writing, refused)
        if len(deliveries) == 1:
            return results
        for place, delivery in enumerate(deliveries):
            if delivery.id not in refused:
                continue
            if loop.time() < until:
                (results[place],) = await self._written([delivery], context, writing, set())
            else:
                results[place] = Result(outcome="deferred", reason="server_error", detail=_BESIDE)
        return results

    async def _written(
        self, deliveries: Sequence[Delivery], context: Context, writing: "Writing", refused: set[str]
    ) -> list[Result]:
        """Writes records. `refused` gets the ids of those that brokers refused; what was beside them in a batch is among them."""
        sent = [await self._send(delivery, context, writing) for delivery in deliveries]
        results: list[Result] = []
        for delivery, one in zip(deliveries, sent, strict=True):
            results.append(one if isinstance(one, Result) else await self._settled(*one, writing))
            if not isinstance(one, Result) and results[-1].reason in ("invalid_content", "server_error"):
                refused.add(delivery.id)
        return results

    async def check(self, context: Context) -> None:
        """Connects, signs in and looks the topic up. Raises Permanent or Retryable."""
        self._refuse_own(context)
        writing = await self._open(context)
        await writing.check(self.parameters.topic)

    async def close(self) -> None:
        """Closes the connections."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing.close()

    async def _send(self, delivery: Delivery, context: Context, writing: "Writing") -> "Result | _Sent":
        """The record on its way and what its attempt says, or the result where there is none."""
        detail = None
        key = delivery.receiver or delivery.recipient
        try:
            value = await self._value(delivery, context)
            if self.parameters.key is not None:
                key = await context.render(self.parameters.key, delivery)
        except RecordError as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        except TemplateFailed as error:  # the message goes out all the same
            detail = f"the template of the key failed, so the receiver was taken: {error}"
        headers = [
            ("notifier-delivery", delivery.id.encode()),
            ("notifier-configuration", delivery.configuration.encode()),
        ]
        try:
            return await writing.send(self.parameters.topic, _key(key), value, headers), detail
        except DeliveryError as error:
            return self._failed(error)

    async def _settled(self, sent: "asyncio.Future[Any]", detail: str | None, writing: "Writing") -> Result:
        from consumers.kafka.writing import Unsure

        try:
            await writing.settled(sent)
        except Unsure as error:
            return Result(outcome="unknown", reason="timeout", detail=self.mask(str(error)))
        except DeliveryError as error:
            return self._failed(error)
        return ACCEPTED if detail is None else Result(detail=detail)

    def _failed(self, error: DeliveryError) -> Result:
        outcome: Outcome = "deferred" if isinstance(error, Retryable) else "refused"
        return Result(outcome=outcome, reason=error.reason, detail=self.mask(str(error)))

    async def _value(self, delivery: Delivery, context: Context) -> bytes:
        if self.parameters.value == "text":
            return (await context.rendered(delivery)).body.plain().encode(errors="replace")
        delivery.read_message()  # what is no message is refused
        return bytes(delivery.message)

    def _refuse_own(self, context: Context) -> None:
        if context.own_topic(self.parameters.topic):
            text = f"{self.parameters.topic} is a topic of Notifier's own; write to it by REST, or name another one"
            raise Permanent("forbidden", text)

    async def _open(self, context: Context) -> "Writing":
        """The client, made when it is first needed: the API and the router have instances too, and never write."""
        if self._writing is None:
            writing, cluster_of = await asyncio.to_thread(_import_writing)
            if self._writing is None:  # another call may have been faster
                cluster = cluster_of(self.parameters, read_servers(self.parameters.servers))
                self._writing = writing(cluster, context.network)
        return self._writing


def _key(key: str | None) -> bytes | None:
    text = (key or "").strip()[:_MAX_KEY]
    return text.encode(errors="replace") if text else None


def _import_writing() -> "tuple[type[Writing], Callable[..., Cluster]]":
    from consumers.kafka.writing import Writing
    from notifier.kafka.cluster import cluster_of

    return Writing, cluster_of
