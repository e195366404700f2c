"""Worker: a process that is measured. It is started, observed from outside, and ended by its pid and no other."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from notifier.settings import PREFIX, Settings, variable
from notifier.tied_process import tied_command

ROOT = Path(__file__).parent.parent
STOP_LIMIT_S = 15.0


class Failed(Exception):
    """A process did not do its work; the text says what is wrong."""


@dataclass(frozen=True)
class Usage:
    """Use of a process and its children: processor seconds so far, bytes resident now."""

    cpu_s: float = 0.0
    rss: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.cpu_s + other.cpu_s, self.rss + other.rss)


class Worker:
    """One process, `python -m …`. It dies with this one, however that ends."""

    def __init__(self, module: Sequence[str], settings: Settings, log: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= {
            variable("kafka"): str(settings.kafka),
            variable("topic_prefix"): settings.topic_prefix,
            variable("data_dir"): str(settings.data_dir),
            variable("telegram_api"): settings.telegram_api,
            variable("allowed_addresses"): ",".join(settings.allowed_addresses),
            variable("log_level"): "WARNING",
            "PYTHONPATH": str(ROOT),
        }
        if settings.secret_key is not None:
            environment[variable("secret_key")] = settings.secret_key.get_secret_value()
        self._log = log
        command = [sys.executable, "-m", *module]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                tied_command(command) if sys.platform == "linux" else command,
                env=environment,
                cwd=settings.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )

    def usage(self) -> Usage:
        """Its use so far. Raises Failed when it has ended."""
        if self._process.poll() is not None:
            raise Failed(f"the process ended with status {self._process.returncode}:\n{self.log()}")
        found = Usage()
        process = psutil.Process(self._process.pid)
        for one in (process, *process.children(recursive=True)):
            try:
                times = one.cpu_times()
                found += Usage(times.user + times.system, one.memory_info().rss)
            except psutil.NoSuchProcess:
                pass  # a child that ended this moment
        return found

    def pss(self) -> int | None:
        """Bytes resident now, those shared with other processes in part; None where the system does not tell."""
        found = 0
        process = psutil.Process(self._process.pid)
        for one in (process, *process.children(recursive=True)):
            try:
                lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                return None
            found += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return found

    def log(self) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace")[-2000:]

    def hold(self) -> None:
        """Halts it until `resume`. It keeps its memory and connections, and for some seconds its place in its group."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self, limit_s: float = STOP_LIMIT_S) -> int:
        """Asks it to end, and kills it if it does not; its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()
