"""Connecting: a client that is cancelled while it connects closes what it has opened.

aiokafka asks for the metadata over a connection that it keeps nowhere until the answer is there. Cancelled meanwhile, it
left that connection open until the garbage was collected.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias

from aiokafka import client
from aiokafka.conn import AIOKafkaConnection

from notifier.errors import DeliveryError

Connect: TypeAlias = Callable[[str, int], Awaitable[socket.socket]]

MAX_ANSWER_BYTES = 16 * 1024 * 1024  # of a broker of others; what says where 100,000 partitions lie has five
MOST_ITERATIONS = 1_000_000  # a second or less; Kafka has 4096, and at most 16384

_opening: dict["asyncio.Task[Any] | None", list[Any]] = {}  # a task that connects → the connections that it has opened
_by: ContextVar[Connect | None] = ContextVar("by", default=None)
_create_conn, _bootstrap = client.create_conn, client.AIOKafkaClient.bootstrap


def close_what_is_cancelled() -> None:
    """Has every client of this process do so."""
    client.create_conn = _open
    client.AIOKafkaClient.bootstrap = _connect


@contextmanager
def connecting_by(connect: Connect) -> Iterator[None]:
    """Has clients that are started within the block, and the tasks that they start, connect by this function alone.

    It may raise DeliveryError, which counts as no connection. Brokers name the addresses of the others, so a guard that sees
    the first address only is none. Nor are they trusted to answer in few bytes: a connection ends at an answer of more than
    MAX_ANSWER_BYTES, which aiokafka would gather whatever its size.
    """
    token = _by.set(connect)
    try:
        yield
    finally:
        _by.reset(token)


class _Loop:
    """An event loop to a connection of aiokafka, whose sockets come from `connect`. aiokafka takes no socket itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connect: Connect) -> None:
        self._loop = loop
        self._connect = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Any, host: str, port: int, *, ssl: Any = None) -> Any:
        try:
            sock = await self._connect(host, port)
        except DeliveryError as error:
            raise ConnectionError(str(error)) from None
        transport, protocol = await self._loop.create_connection(
            factory, sock=sock, ssl=ssl, server_hostname=host if ssl is not None else None
        )
        reader = protocol._stream_reader
        reader.readexactly = partial(_read_few, reader.readexactly)
        return transport, protocol


async def _read_few(read: Callable[[int], Awaitable[bytes]], size: int) -> bytes:
    if size > MAX_ANSWER_BYTES:
        raise ConnectionError(f"an answer of {size} bytes")
    return await read(size)


def _scram(make: Callable[[], Any]) -> Any:
    """A sign-in for which the broker may ask for MOST_ITERATIONS; aiokafka works them out in a thread, which nobody can end."""
    authenticator = make()
    salted = authenticator.create_salted_password

    def bounded(salt: bytes, iterations: int) -> None:
        if iterations > MOST_ITERATIONS:
            raise ConnectionError(f"the broker asks for {iterations} iterations of a password's hash")
        salted(salt, iterations)

    authenticator.create_salted_password = bounded
    return authenticator


async def _made(*args: Any, **kwargs: Any) -> Any:
    connect = _by.get()
    if connect is None:
        return await _create_conn(*args, **kwargs)
    connection = AIOKafkaConnection(*args, **kwargs)
    connection._loop = _Loop(connection._loop, connect)
    connection.authenticator_scram = partial(_scram, connection.authenticator_scram)
    await connection.connect()
    return connection


async def _open(*args: Any, **kwargs: Any) -> Any:
    connection = await _made(*args, **kwargs)
    opened = _opening.get(asyncio.current_task())
    if opened is not None:
        opened.append(connection)
    return connection


async def _connect(self: Any) -> None:
    task = asyncio.current_task()
    opened = _opening[task] = []
    try:
        await _bootstrap(self)
    except BaseException:
        for connection in opened:
            connection.close()
        raise
    finally:
        del _opening[task]
