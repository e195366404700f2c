"""A client that is cancelled while it connects leaves no connection behind."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka.conn import AIOKafkaConnection

from notifier.kafka import connecting, end_kafka_producer, kafka_admin, kafka_consumer, kafka_producer
from notifier.settings import Settings
from tests.rigs.kafka_tools import WAIT_S, wait_until


class Proxy:
    """Stands before the broker; of each connection it lets one answer through, and keeps the next to itself."""

    def __init__(self, broker: str) -> None:
        self._host, _, self._port = broker.rpartition(":")
        self.asked = 0  # requests that have had no answer
        self.open = 0  # connections

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        there, back = await asyncio.open_connection(self._host, int(self._port))
        try:
            size = await reader.readexactly(4)
            back.write(size + await reader.readexactly(int.from_bytes(size)))
            size = await there.readexactly(4)
            writer.write(size + await there.readexactly(int.from_bytes(size)))
            await reader.readexactly(4)
            self.asked += 1
            while await reader.read(1000):
                pass
        except asyncio.IncompleteReadError:
            pass
        finally:
            back.close()
            writer.close()
            self.open -= 1


@asynccontextmanager
async def before(broker: str) -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy(broker)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        yield proxy, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _admin(settings: Settings) -> None:
    async with kafka_admin(settings):
        pass


async def _consumer(settings: Settings) -> None:
    async with kafka_consumer(settings):
        pass


async def _producer(settings: Settings) -> None:
    async with kafka_producer(settings):
        pass


async def _producer_that_is_ended(settings: Settings) -> None:
    producer = kafka_producer(settings)
    try:
        await producer.start()
    finally:
        await end_kafka_producer(producer)


@pytest.mark.parametrize("connect", [_admin, _consumer, _producer, _producer_that_is_ended])
async def test_a_client_that_is_cancelled_while_it_connects_closes_what_it_opened(
    settings: Settings, connect: Callable[[Settings], Awaitable[None]]
) -> None:
    assert settings.kafka is not None
    async with before(settings.kafka) as (proxy, address):
        connecting = asyncio.ensure_future(connect(settings.model_copy(update={"kafka": address})))
        await wait_until(lambda: proxy.asked == 1)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(WAIT_S):
                await connecting
        await wait_until(lambda: proxy.open == 0)


async def test_a_broker_of_others_cannot_ask_for_hours_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(connection: AIOKafkaConnection) -> None:
        pass

    async def nowhere(host: str, port: int) -> socket.socket:
        raise AssertionError

    monkeypatch.setattr(AIOKafkaConnection, "connect", connect)
    with connecting.connecting_by(nowhere):
        connection = await connecting._made(
            "broker.example",
            9092,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="me",
            sasl_plain_password="secret",
        )
    for iterations, works in ((4096, True), (4_000_000_000, False)):
        authenticator = connection.authenticator_scram()
        first = f"r={authenticator._nonce}0,s=c2FsdA==,i={iterations}"
        with contextlib.nullcontext() if works else pytest.raises(ConnectionError, match="iterations"):
            authenticator.process_server_first_message(first)
