"""Connecting: a client that is cancelled while it connects closes what it has opened.

aiokafka asks for the metadata over a connection that it keeps nowhere until the answer is there. Cancelled meanwhile, it
left that connection open until the garbage was collected.
"""

import asyncio
from typing import Any

from aiokafka import client

_opening: dict["asyncio.Task[Any] | None", list[Any]] = {}  # a task that connects → the connections that it has opened
_create_conn, _bootstrap = client.create_conn, client.AIOKafkaClient.bootstrap


def close_what_is_cancelled() -> None:
    """Has every client of this process do so."""
    client.create_conn = _open
    client.AIOKafkaClient.bootstrap = _connect


async def _open(*args: Any, **kwargs: Any) -> Any:
    connection = await _create_conn(*args, **kwargs)
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
