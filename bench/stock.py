"""The contender that is stock Faust: an agent on Faust's own transport, `topic.send` for each match.

`python -m bench.stock KAFKA PREFIX RULE`, until SIGTERM. At least once: before Faust commits, it waits until all that was sent
is acknowledged.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import faust
from faust.app.base import BootStrategy

from bench.index import Index
from notifier.topics import MESSAGES

GROUP = "stock"


class Boot(BootStrategy):  # type: ignore[misc]  # Faust has no usable types
    """No web server."""

    enable_web = False


async def main(kafka: str, prefix: str, rule: str) -> None:
    """The process."""
    index = Index(Path(rule), prefix)
    app = faust.App(
        prefix + GROUP,
        broker=f"kafka://{kafka}",
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        autodiscover=False,
    )
    app.boot_strategy = Boot(app)
    topics: dict[str, Any] = {
        topic: app.topic(topic, key_serializer="raw", value_serializer="raw") for topic in index.topics.values()
    }

    async def route(values: Any) -> None:
        async for value in values:
            for output, delivery in index.deliveries(value):
                await topics[output.topic].send(key=output.key, value=delivery)

    app.agent(app.topic(prefix + MESSAGES.name, value_type=bytes, key_serializer="raw", value_serializer="raw"))(route)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        await app.start()
        await app.wait(stop)
    finally:
        await app.stop()
    if app.crash_reason is not None:
        raise app.crash_reason


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
