"""Kafka clients that outlive a test: the admin client and the consumer that the rigs look at the tests' broker with.

Connecting costs more than what is asked over the connection, and tests ask again and again until something has come about. The
clients live in an event loop of their own, in a thread, since each test has another loop.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from notifier.kafka import kafka_admin, kafka_consumer
from notifier.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What a broker is looked at with."""

    admin: AIOKafkaAdminClient
    consumer: AIOKafkaConsumer  # reads what is committed
    uncommitted: AIOKafkaConsumer  # sees what a transaction that is open has written too


Asking = Callable[[Clients], Awaitable[T]]


class StandingClients:
    """The clients of one broker. One question at a time is asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._one_at_a_time = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._clients: Clients | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="standing clients", daemon=True)
        self._thread.start()

    def ask(self, asking: Asking[T]) -> "Future[T]":
        """What `asking` answers, from any thread; in an event loop it is waited for by `asyncio.wrap_future`."""
        return asyncio.run_coroutine_threadsafe(self._ask(asking), self._loop)

    async def _ask(self, asking: Asking[T]) -> T:
        async with self._one_at_a_time:
            if self._clients is None:
                self._clients = await self._stack.enter_async_context(_connected(self._settings))
            return await asking(self._clients)

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


_standing: dict[str, StandingClients] = {}  # by the broker's address


@contextmanager
def standing_clients(settings: Settings) -> Iterator[None]:
    """While the block runs, `asked` finds clients of the broker of these settings."""
    assert settings.kafka is not None
    _standing[settings.kafka] = clients = StandingClients(settings)
    try:
        yield
    finally:
        del _standing[settings.kafka]
        clients.close()


async def asked(settings: Settings, asking: Asking[T]) -> T:
    """What `asking` answers, with the standing clients where the broker has some, else with its own."""
    standing = _standing.get(settings.kafka or "")
    if standing is not None and settings.kafka_security_protocol == "PLAINTEXT":
        return await asyncio.wrap_future(standing.ask(asking))
    async with _connected(settings) as clients:
        return await asking(clients)


def asked_at_once(settings: Settings, asking: Asking[T]) -> T:
    """The same where no event loop runs, on a broker that has standing clients."""
    return _standing[settings.kafka or ""].ask(asking).result()


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Clients]:
    async with (
        kafka_admin(settings) as admin,
        # A fetch that finds nothing new is not to hold up what is asked next.
        kafka_consumer(settings, fetch_max_wait_ms=1) as consumer,
        kafka_consumer(settings, isolation_level="read_uncommitted") as uncommitted,
    ):
        yield Clients(admin=admin, consumer=consumer, uncommitted=uncommitted)
