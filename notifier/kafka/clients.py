"""Kafka clients, made in one place from the settings, and the topics they need.

Says where the broker is; running the embedded one is `streams.broker.broker`'s.
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, ProducerClosed, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context

from notifier.errors import BrokerError
from notifier.settings import Settings, variable
from notifier.topics import LARGE_BYTES, Topic

logger = logging.getLogger(__name__)

NO_EMBEDDED_BROKER = (
    "no Kafka broker is running for the data folder {folder}: start one with `notifier kafka start`"
    " (or everything with `notifier up`), or name yours in NOTIFIER_KAFKA=host:port"
)


def broker_file(settings: Settings) -> Path:
    """The file that says where the embedded broker of the data folder runs: `{"pid", "address", "cluster_id", …}`."""
    return settings.data_dir / "kafka" / "broker.json"


def running_broker(settings: Settings) -> str | None:
    """The address `host:port` of the embedded broker, if its process lives; None otherwise."""
    try:
        state = json.loads(broker_file(settings).read_text())
        process = psutil.Process(int(state["pid"]))
        # A pid may have been given to another process since; the time of its start tells.
        alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(state["started"])) < 2
        return str(state["address"]) if alive else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def bootstrap_servers(settings: Settings) -> str:
    """Where the broker is: NOTIFIER_KAFKA, or the embedded broker. Raises BrokerError when there is none."""
    if settings.kafka is not None:
        return settings.kafka
    address = running_broker(settings)
    if address is None:
        raise BrokerError(NO_EMBEDDED_BROKER.format(folder=settings.data_dir))
    return address


def client_options(settings: Settings) -> dict[str, Any]:
    """What every aiokafka client is given: address, name and security."""
    options: dict[str, Any] = {"bootstrap_servers": bootstrap_servers(settings), "client_id": client_id()}
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return options
    options["security_protocol"] = protocol
    if "SSL" in protocol.split("_"):
        options["ssl_context"] = create_ssl_context(
            cafile=_text(settings.kafka_ca_file),
            certfile=_text(settings.kafka_cert_file),
            keyfile=_text(settings.kafka_key_file),
        )
    if protocol.startswith("SASL"):
        if settings.kafka_username is None or settings.kafka_password is None:
            raise BrokerError(f"{protocol} needs {variable('kafka_username')} and {variable('kafka_password')}")
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return options


def client_id() -> str:
    """How this process calls itself towards the broker: `notifier-<host>`."""
    return f"notifier-{socket.gethostname()}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


class _Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """One whose stop leaves no connection open, even if whoever stops it is cancelled meanwhile."""

    async def stop(self) -> None:
        """Sends what is under way and closes all connections; cancelled, it closes them at once."""
        try:
            await super().stop()
        except BaseException:
            self._message_accumulator.fail_all(ProducerClosed())  # or aiokafka waits for them for ever
            await _end(self._sender.sender_task)
            await self.client.close()
            raise


def kafka_producer(settings: Settings, **options: Any) -> AIOKafkaProducer:
    """A Kafka producer that loses and doubles nothing: acks=all and idempotent. Not started."""
    return _Producer(
        **{
            **client_options(settings),
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 2,
            "request_timeout_ms": 30_000,
            "max_request_size": LARGE_BYTES,  # each topic has its own limit, and most a lower one
            **options,
        }
    )


class _Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """One that can be stopped while the broker is away, and by someone who is cancelled meanwhile."""

    async def stop(self) -> None:
        """Leaves the group and closes all connections; cancelled, it closes them at once.

        aiokafka cancels its fetches and awaits them; one that is waiting for the broker to come back then raises
        CancelledError into a caller whom nobody cancelled, and the connections stay open.
        """
        task = asyncio.current_task()
        cancellations = 0 if task is None else task.cancelling()
        try:
            await super().stop()
        except BaseException as error:
            await self._let_go()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() == cancellations:
                return
            raise

    async def _let_go(self) -> None:
        coordinator, fetcher = self._coordinator, self._fetcher
        if coordinator is not None:
            await _end(
                *(
                    getattr(coordinator, name, None)  # a coordinator without a group has but one of them
                    for name in (
                        "_coordination_task",
                        "_heartbeat_task",
                        "_commit_refresh_task",
                        "_reset_committed_task",
                    )
                )
            )
        if fetcher is not None:
            await _end(fetcher._fetch_task, *fetcher._pending_tasks)
        await self._client.close()


async def _end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancels aiokafka's background tasks and waits until they have ended."""
    left = [task for task in tasks if task is not None]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def kafka_consumer(settings: Settings, *topics: str, **options: Any) -> AIOKafkaConsumer:
    """A Kafka consumer that reads what is committed, from the start, and commits only when told to. Not started."""
    return _Consumer(
        *topics,
        **{
            **client_options(settings),
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            **options,
        },
    )


@asynccontextmanager
async def kafka_admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, started and closed. Raises BrokerError when the broker cannot be reached."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise BrokerError(f"the Kafka broker at {bootstrap_servers(settings)} does not answer: {error}") from None
    except asyncio.CancelledError:  # whoever waits no longer must not leave a connection behind
        await admin.close()
        raise
    try:
        yield admin
    finally:
        await admin.close()


async def ensure_topics(settings: Settings, topics: Iterable[Topic]) -> None:
    """Creates those of the topics that are not there yet, and returns when they can be written to.

    Raises BrokerError when the broker cannot be reached or refuses.
    """
    wanted = {settings.topic_prefix + topic.name: topic for topic in topics}
    async with kafka_admin(settings) as admin:
        missing = wanted.keys() - set(await admin.list_topics())
        if not missing:
            return
        answer = await admin.create_topics(
            [
                NewTopic(
                    name=name,
                    num_partitions=wanted[name].partitions,
                    replication_factor=settings.kafka_replication,
                    topic_configs=wanted[name].config(),
                )
                for name in sorted(missing)
            ]
        )
        for name, code, *text in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise BrokerError(
                    f"the broker will not create the topic {name}: {error.__name__} {text[0] if text else ''}"
                )
        for _ in range(100):  # a created topic has no leader for some milliseconds
            described = await admin.describe_topics(sorted(missing))
            if all(not topic["error_code"] and topic["partitions"] for topic in described):
                return
            await asyncio.sleep(0.05)
