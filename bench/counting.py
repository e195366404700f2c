"""Counting: a consumer that accepts whatever it is given, at no cost of its own, and roles of which it is the only consumer.

`python -m bench.counting router PID` is a router with it, `python -m bench.counting delivery PID` a delivery worker.
They end with the process PID that started them.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from notifier import Consumer, ConsumerParameters, Context, Delivery, Result
from notifier.log import configure
from notifier.registry import Registry
from notifier.settings import PREFIX, Settings, load_settings, variable
from notifier_cli.supervisor import tie_to_parent
from producers.push import Push
from streams.app import run_process
from streams.delivery.worker import run_delivery_process

BATCH = 100
ROOT = Path(__file__).parent.parent


class Counting(Consumer[ConsumerParameters]):
    """Accepts everything. A lane for each person, as a consumer that writes to people has."""

    type = "counting"
    Parameters = ConsumerParameters

    def fixed_address(self) -> bool:
        """No: each person is a lane."""
        return False

    def batch(self) -> int:
        """Many, so that what is measured is the worker."""
        return BATCH

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Accepts all."""
        return [Result()] * len(deliveries)


REGISTRY = Registry((Push, Counting))


class Worker:
    """One role as a process of its own."""

    def __init__(self, settings: Settings, role: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        for name in ("kafka", "topic_prefix", "data_dir"):
            environment[variable(name)] = str(getattr(settings, name))
        assert settings.secret_key is not None
        environment[variable("secret_key")] = settings.secret_key.get_secret_value()
        environment[variable("log_level")] = "ERROR"
        self.role = role
        command = [sys.executable, "-m", "bench.counting", role, str(os.getpid())]
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT)

    def cpu_s(self) -> float:
        """Processor seconds that it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    async def stop(self) -> None:
        """Asks it to end, as an orchestrator does, and waits; it must end in order."""
        self.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self.process.wait, 60)
        assert status == 0, f"a {self.role} ended with status {status}"

    def kill(self) -> None:
        """Ends it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def main() -> int:
    """The process."""
    role, parent = sys.argv[1:]
    tie_to_parent(int(parent))
    settings = load_settings(env_file=None)
    configure(settings, role)
    if role == "delivery":
        return run_delivery_process(settings, REGISTRY)
    run_process(settings, ["router"], REGISTRY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
