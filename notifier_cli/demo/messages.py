"""The messages that the demo sends: by REST, and as records of a plain Kafka client, good ones and bad ones."""

import asyncio
import platform
import socket
from typing import Any

import aiohttp
import click
import orjson

from notifier.errors import NotifierError
from notifier.kafka import kafka_producer
from notifier.settings import Settings
from notifier.topics import MESSAGES

# One that is delivered, one for everyone that a filter drops, and two that become dead letters.
RECORDS = (
    b'{"producer": "ci", "receiver": "alice", "content": "Written by a plain Kafka client"}',
    b'{"producer": "ci", "content": "For everyone, and only a wip"}',
    b'{"producer": "ci", "receiver": "alice", "content": "The JSON of this one is broken',
    b'{"producer": "nobody-knows-me", "receiver": "alice", "content": "From a producer that is not defined"}',
)


def pushed() -> list[dict[str, Any]]:
    """The messages that a program pushes by REST, about the machine that the demo runs on."""
    python = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    build = {"producer": "ci", "labels": {"host": socket.gethostname()}}
    return [
        {**build, "id": "build-1", "sender": "bob", "receiver": "alice", "content": f"Built with {python}"},
        {**build, "id": "build-2", "sender": "alice", "receiver": "alice", "content": "Draft: not ready yet"},
        {**build, "id": "build-3", "sender": "alice", "receiver": "bob", "content": "Your build is done"},
        {**build, "id": "build-4", "sender": "alice", "receiver": "dave", "content": "Your build is done"},
        {
            **build,
            "id": "build-5",
            "sender": "bob",
            "receiver": "ALICE",
            "severity": "error",
            "title": "Build failed",
            "content": f"Tests fail with {python}",
        },
    ]


async def post(session: aiohttp.ClientSession, url: str, body: object) -> None:
    """Posts as soon as the API and its topics are there, and prints the answer. Raises NotifierError when it refuses."""
    data = None if body is None else orjson.dumps(body)
    for _ in range(150):
        try:
            async with session.post(url, data=data, headers={"Content-Type": "application/json"}) as answer:
                text = await answer.text()
                if answer.status == 503:  # the API is there, and the broker's topics are not yet
                    await asyncio.sleep(0.2)
                    continue
                if answer.status >= 300:
                    raise NotifierError(f"{url} answers {answer.status}: {text}")
                click.echo(f"  {answer.status} {text}")
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.2)
    raise NotifierError(f"{url} does not answer; the lines above say why")


async def write_records(settings: Settings) -> None:
    """Writes RECORDS on the topic `messages` and prints where each is."""
    async with kafka_producer(settings) as client:
        for value in RECORDS:
            sent = await client.send_and_wait(settings.topic_prefix + MESSAGES.name, value)
            click.echo(f"  partition {sent.partition} offset {sent.offset}: {value.decode()}")
