"""How long a message takes from a Kafka client to the script consumer, everything run as `notifier up` runs it.

The clock starts before the client's `send` and stops when the consumer's script has read its input, so it includes the
acknowledgement, the router, the delivery worker and the start of the script in its sandbox. Every message must arrive exactly
once before a figure is printed.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from control_api.definitions.apply import apply_command
from notifier.kafka import kafka_producer
from notifier.settings import PREFIX, load_settings, variable
from notifier.topics import MESSAGES
from notifier_cli.supervisor import Supervisor
from streams.broker.ports import free_port

MESSAGE_COUNT = 100
PAUSE_S = 0.2  # between two messages: this measures latency, not throughput
WARM_UP = 10  # messages that are not counted
LIMIT_S = 60.0

DEFINITIONS = """
users: [{{username: alice}}]
scripts:
  - name: note
    executor: bash
    content: 'items=$(cat); printf "%s %s\\n" "$EPOCHREALTIME" "$items" >> {folder}/arrived'
producers: [{{name: bench, type: push}}]
consumers: [{{name: note, type: script, parameters: {{script: note, write: ["{folder}"]}}}}]
configurations: [{{name: bench, users: [alice], producers: [bench], consumers: [note]}}]
"""


async def main(arguments: Sequence[str] = ()) -> None:
    """Prints the median and the 95th percentile in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="notifier-bench-") as name:
        folder = Path(name).resolve()
        given = {"data_dir": folder / "data", "kafka_port": free_port(), "http_port": free_port()}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= {variable(name): str(value) for name, value in given.items()}
        environment[variable("log_level")] = "WARNING"
        settings = load_settings(env_file=None, **given)
        supervisor = Supervisor(settings, environment=environment, folder=folder)
        await supervisor.start()
        try:
            inbox = folder / "inbox"
            inbox.mkdir(mode=0o777)
            definitions = folder / "definitions.yaml"
            definitions.write_text(DEFINITIONS.format(folder=inbox))
            await apply_command(settings, definitions, prune=False, dry_run=False)
            client = kafka_producer(settings, linger_ms=0)
            await client.start()
            sent: dict[str, float] = {}
            try:
                for number in range(MESSAGE_COUNT + WARM_UP):
                    message = {"producer": "bench", "id": str(number), "receiver": "alice", "content": "x" * 200}
                    sent[str(number)] = time.time()
                    await client.send_and_wait(settings.topic_prefix + MESSAGES.name, json.dumps(message).encode())
                    await asyncio.sleep(PAUSE_S)
                arrived = await _arrived(inbox / "arrived", len(sent))
            finally:
                await client.stop()
        finally:
            await supervisor.stop()
    assert sorted(id_ for id_, _ in arrived) == sorted(sent), "every message exactly once"
    counted = sorted(1000 * (at - sent[id_]) for id_, at in arrived if int(id_) >= WARM_UP)
    print(
        f"latency, Kafka client → script consumer, {len(counted)} messages at {1 / PAUSE_S:.0f}/s:"
        f" median {statistics.median(counted):.0f} ms, p95 {counted[int(0.95 * len(counted))]:.0f} ms,"
        f" highest {counted[-1]:.0f} ms"
    )


async def _arrived(file: Path, count: int) -> list[tuple[str, float]]:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            break
        await asyncio.sleep(0.2)
    found = []
    for line in lines:
        at, _, items = line.partition(" ")
        found += [(item["id"].split("/")[1], float(at)) for item in json.loads(items)]
    return found
