"""Clients: Kafka producers, consumers and admin clients, made from the settings, and how they end."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.helpers import create_ssl_context
from aiokafka.producer import sender

from notifier.errors import BrokerError
from notifier.kafka.address import bootstrap_servers
from notifier.kafka.connecting import close_what_is_cancelled
from notifier.kafka.lenient import read_leniently
from notifier.settings import Settings, variable
from notifier.topics import LARGE_BYTES

logger = logging.getLogger(__name__)


def client_options(settings: Settings) -> dict[str, Any]:
    """What every aiokafka client is given: address, name and security. Raises BrokerError."""
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
    """The name of this process towards the broker: `notifier-<host>`."""
    return f"notifier-{socket.gethostname()}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


close_what_is_cancelled()

# --- Kafka producers ---


# The broker ends a transaction some milliseconds after it has said so, and refuses the next one until then. aiokafka would ask
# again after 20 ms, which was most of the time of a request that pushes one message.
sender.BACKOFF_OVERRIDE = 0.002


class _KafkaProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """A Kafka producer whose `stop` leaves no connection open, even when its caller is cancelled meanwhile."""

    async def __aenter__(self) -> Self:
        """Starts it; one that does not start is ended."""
        try:
            return cast("Self", await super().__aenter__())
        except BaseException:
            await end_kafka_producer(self)
            raise

    async def stop(self) -> None:
        """Writes what is under way, however long that takes, and closes all connections; cancelled, it closes at once."""
        try:
            await super().stop()
        except BaseException:
            await end_kafka_producer(self)
            raise


def kafka_producer(settings: Settings, **options: Any) -> AIOKafkaProducer:
    """A Kafka producer that loses and doubles nothing: acks=all and idempotent. Not started.

    One that lives as long as its process ends by `end_kafka_producer`; `stop`, and so `async with`, may wait for ever for a
    broker that is away.
    """
    return kafka_producer_at(**{**client_options(settings), **options})


def kafka_producer_at(**options: Any) -> AIOKafkaProducer:
    """The same at any cluster: `options` are aiokafka's, address and security among them."""
    return _KafkaProducer(
        **{
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 2,
            "request_timeout_ms": 30_000,
            "max_request_size": LARGE_BYTES,  # each topic has its own limit, and most a lower one
            **options,
        }
    )


async def end_kafka_producer(producer: AIOKafkaProducer, *, flush_s: float = 0.0) -> None:
    """Ends a Kafka producer in bounded time, in any state, started or not, broker or not. An open transaction stays open.

    It waits up to `flush_s` seconds for what is under way; what is then not acknowledged fails with ProducerClosed. aiokafka's
    own `stop` waits without a limit and has no way out: hence its private names (0.14), in this one place.
    """
    producer._closed = True
    try:
        if flush_s:
            await _flush(producer, flush_s)
    finally:
        accumulator = producer._message_accumulator
        pending = [batch for batches in accumulator._batches.values() for batch in batches]
        pending += accumulator._pending_batches
        accumulator.fail_all(ProducerClosed())
        for batch in pending:
            _look_at(batch._drain_waiter)
            _look_at(batch.future)  # nobody may be left who waits for it
        task = producer._sender.sender_task
        for _ in range(_CANCELS):
            if task is None or task.done():
                break
            task.cancel()  # once for the task itself, then once for each request that it still waits for
            await asyncio.wait([task], timeout=_CANCEL_S)
        _look_at(task)
        if producer._txn_manager is not None:
            _look_at(producer._txn_manager._transaction_waiter)
        try:
            await producer.client.close()
        except (KafkaError, OSError) as error:  # a broken connection is as good as closed
            logger.debug("A Kafka producer's connection did not close: %s", error)


_CANCELS, _CANCEL_S = 20, 0.1  # of the task that sends: how often at most, and how long each is waited for


async def _flush(producer: AIOKafkaProducer, seconds: float) -> None:
    sending = producer._sender.sender_task
    if sending is None or sending.done():  # nothing is written any more
        return
    flushing = asyncio.create_task(producer._message_accumulator.close())
    try:
        await asyncio.wait([flushing, sending], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        flushing.cancel()


def _look_at(future: "asyncio.Future[Any] | None") -> None:
    """Takes note of a failure, so that asyncio does not complain about it."""
    if future is not None and future.done() and not future.cancelled():
        future.exception()


# --- Kafka consumers ---

read_leniently()


class _KafkaConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """A Kafka consumer that can be stopped while the broker is away, and by a caller who is cancelled meanwhile."""

    async def __aenter__(self) -> Self:
        """Starts it; one that does not start is stopped."""
        try:
            return cast("Self", await super().__aenter__())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Leaves the group and closes all connections; cancelled, it closes them at once.

        aiokafka cancels its fetches and awaits them; one that is waiting for the broker to come back then raises
        CancelledError into a caller that was not cancelled, and the connections stay open.
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
            # A coordinator without a group has only one of these tasks.
            names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
            await _end(*(getattr(coordinator, name, None) for name in names))
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
    """A Kafka consumer that reads committed records, from the start, and commits only when told to. Not started."""
    return kafka_consumer_at(*topics, **{**client_options(settings), **options})


def kafka_consumer_at(*topics: str, **options: Any) -> AIOKafkaConsumer:
    """The same at any cluster: `options` are aiokafka's, address and security among them."""
    return _KafkaConsumer(
        *topics,
        **{
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            **options,
        },
    )


# --- admin clients ---


@asynccontextmanager
async def kafka_admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, started and closed. Raises BrokerError when the broker cannot be reached."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise BrokerError(f"the Kafka broker at {bootstrap_servers(settings)} does not answer: {error}") from None
    except asyncio.CancelledError:  # a caller that waits no longer must not leave a connection behind
        await admin.close()
        raise
    try:
        yield admin
    finally:
        await admin.close()
