"""Child processes of the command line, kept running: one that ends is started again after a back-off.

On Linux the kernel kills them when this process ends, even by SIGKILL (`notifier.tied_process`). Which children there are and
in which order they stop is decided by `notifier_cli.supervisor` and `notifier_cli.workers`.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from notifier.errors import SettingsError
from notifier.tied_process import tied_command

STOP_LIMIT_S = 20.0  # for one child to drain
LONGEST_PAUSE_S = 30.0  # maximum of the back-off, which doubles each time
SETTLED_S = 60.0  # a child that ran longer starts again with the shortest pause


class Children:
    """Starts, watches and stops `notifier COMMAND` processes. `status` is the exit status of this process."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`environment` and `folder` are the children's, by default this process's own. `say` is given lines for people."""
        self.status = 0
        self._environment = dict(os.environ if environment is None else environment)
        self._folder = folder or Path.cwd()
        self._say = say
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    def keep(self, name: str, command: str) -> None:
        """Starts `notifier COMMAND` and keeps it running until `stop`. People read of it as `name`."""
        self._watchers[name] = asyncio.create_task(self._keep(name, command), name=f"keep {name}")

    def ask_to_stop(self) -> None:
        """Ends `wait`. The second call kills the children at once."""
        if self._stopping.is_set():
            self._signal(signal.SIGKILL, *self._running)
        self._stopping.set()

    async def wait(self) -> int:
        """Waits for `ask_to_stop`, or for a child whose settings are wrong. Returns the exit status."""
        await self._stopping.wait()
        return self.status

    async def stops_within(self, seconds: float) -> bool:
        """Waits for `ask_to_stop`, at most so long; returns whether it came."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def renew(self) -> None:
        """Restarts every child, in its own time (SIGTERM)."""
        self._signal(signal.SIGTERM, *self._running)

    async def stop(self, *names: str) -> None:
        """Stops these children at the same time and kills those that take longer than STOP_LIMIT_S. Ends all restarts."""
        self._stopping.set()
        self._signal(signal.SIGTERM, *names)
        watchers = {self._watchers[name]: name for name in names if name in self._watchers}
        if not watchers:
            return
        _, late = await asyncio.wait(watchers, timeout=STOP_LIMIT_S)
        for watcher in late:
            self._say(f"{watchers[watcher]} did not stop within {STOP_LIMIT_S:.0f} s and is killed")
            self._signal(signal.SIGKILL, watchers[watcher])
        await asyncio.gather(*watchers, return_exceptions=True)

    async def _keep(self, name: str, command: str) -> None:
        pause = 1.0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                child = self._running[name] = await self._spawn(command)
            except OSError as error:  # out of memory or processes: handled like a child that ends at once
                self._say(f"{name} cannot be started: {error}")
                status = 1
            else:
                if self._stopping.is_set():  # while it was started
                    self._signal(signal.SIGTERM, name)
                status = await child.wait()
            if self._stopping.is_set():
                return
            if status == SettingsError.exit_code:  # the child said what is wrong; a restart would not help
                self.status = status
                self._stopping.set()
                return
            pause = 1.0 if time.monotonic() - started > SETTLED_S else min(pause * 2, LONGEST_PAUSE_S)
            self._say(f"{name} ended with status {status} and is started again in {pause:.0f} s")
            await self.stops_within(pause)

    async def _spawn(self, command: str) -> asyncio.subprocess.Process:
        # Without -P a folder of the user's called `filters` or `streams` would shadow ours.
        line = [sys.executable, "-P", "-m", "notifier", command]
        if sys.platform == "linux":
            line = tied_command(line)
        # A session of its own, so that Ctrl-C reaches only this process, which stops its children in order.
        return await asyncio.create_subprocess_exec(
            *line,
            env=self._environment,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    def _signal(self, number: signal.Signals, *names: str) -> None:
        for name in names:
            child = self._running.get(name)
            if child is not None and child.returncode is None:
                try:
                    os.killpg(child.pid, number)
                except ProcessLookupError:
                    pass  # it has just ended
