"""The supervisor behind `up` and `demo`: the embedded broker and every role as a child process, kept running.

A role that ends is started again, later each time it ends soon; so is the broker. All of them, the broker included, are
killed by the kernel when this process ends in whatever way; where it can, it stops them in order first: what takes messages
in, then what routes, then what delivers, then the broker.
"""

import asyncio
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from notifier.errors import NotifierError, SettingsError
from notifier.kafka import ensure_topics, running_broker
from notifier.settings import Settings
from notifier.topics import TOPICS
from streams import launcher
from streams.broker import EmbeddedBroker

logger = logging.getLogger(__name__)

ROLES = ("api", "ticker", "runner", "router", "delivery")  # in the order in which they are stopped
STOP_LIMIT_S = 20.0  # for one role to drain
LONGEST_PAUSE_S = 30.0  # before a role that ends again and again is started again
SETTLED_S = 60.0  # a role that ran so long begins anew with a short pause
BROKER_WATCH_S = 1.0  # between two looks at whether the broker's process lives


class Supervisor:
    """Starts, watches and stops. `status` is what the command shall exit with."""

    def __init__(
        self,
        settings: Settings,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`environment` and `folder` are the children's; by default this process's own. `say` gets lines for people."""
        self.settings = settings
        self.status = 0
        self._environment = dict(os.environ if environment is None else environment)
        self._folder = folder or Path.cwd()
        self._say = say
        self._broker = EmbeddedBroker(settings)
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._lock: IO[str] | None = None

    async def start(self) -> None:
        """Starts everything and returns when the processes exist. Raises NotifierError, with nothing left running."""
        self._claim()
        try:
            if self.settings.embedded_broker:
                self._say("starting the Kafka broker …")
                # In this thread: the kernel kills a child when the thread that started it ends.
                address = self._broker.start(die_with_parent=True)
                self._say(f"the broker accepts clients on {address}")
                await ensure_topics(self.settings, TOPICS)
        except BaseException:
            self._release()
            raise
        for role in ROLES:
            self._watchers[role] = asyncio.create_task(self._keep(role), name=f"keep {role}")
        if self.settings.embedded_broker and self._broker.started_here:
            self._watchers["broker"] = asyncio.create_task(self._keep_broker(), name="keep broker")

    def ask_to_stop(self) -> None:
        """Ends `wait`; asked twice, the roles are killed at once."""
        if self._stopping.is_set():
            for child in self._children.values():
                _signal(child, signal.SIGKILL)
        self._stopping.set()

    async def wait(self) -> int:
        """Waits until somebody asks to stop, or a role finds that its settings are wrong. Returns the exit status."""
        await self._stopping.wait()
        return self.status

    async def stop(self) -> None:
        """Stops the roles in order, then the broker."""
        self._stopping.set()
        for role in ROLES:
            child = self._children.get(role)
            if child is not None:
                _signal(child, signal.SIGTERM)
                try:
                    await asyncio.wait_for(child.wait(), STOP_LIMIT_S)
                except TimeoutError:
                    self._say(f"{role} did not stop within {STOP_LIMIT_S:.0f} s and is killed")
                    _signal(child, signal.SIGKILL)
                    await child.wait()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        if self.settings.embedded_broker and self._broker.started_here:
            await asyncio.to_thread(self._broker.stop)
        self._release()

    async def _keep(self, role: str) -> None:
        pause = 1.0
        while not self._stopping.is_set():
            started = time.monotonic()
            child = self._children[role] = await self._spawn(role)
            status = await child.wait()
            if self._stopping.is_set():
                return
            if status == SettingsError.exit_code:  # it said what is wrong; another try would find the same
                self.status = status
                self._stopping.set()
                return
            pause = 1.0 if time.monotonic() - started > SETTLED_S else min(pause * 2, LONGEST_PAUSE_S)
            self._say(f"{role} ended with status {status} and is started again in {pause:.0f} s")
            await self._stops_within(pause)

    async def _keep_broker(self) -> None:
        """Starts the broker again when its process has ended; its data are on the disk, and clients come back by themselves."""
        known = running_broker(self.settings)
        pause = BROKER_WATCH_S
        while not await self._stops_within(pause):
            pause = BROKER_WATCH_S
            if running_broker(self.settings) is not None:
                continue
            self._say("the broker has ended and is started again")
            try:
                # In this thread, as the first time. The roles' watchers wait for it, and have nothing to do without a broker.
                address = self._broker.start(die_with_parent=True)
            except NotifierError as error:
                pause = LONGEST_PAUSE_S
                self._say(f"the broker cannot be started, the next try is in {pause:.0f} s: {error}")
            else:
                self._say(f"the broker accepts clients on {address}")
                if address != known:  # where any free port will do; who runs knows only the old one
                    known = address
                    for child in self._children.values():
                        _signal(child, signal.SIGTERM)

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _spawn(self, role: str) -> asyncio.subprocess.Process:
        # Without -P a folder of the user's that is called `filters` or `streams` would stand in for ours.
        command = [sys.executable, "-P", "-m", "notifier", role]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", launcher.__file__, "signal", str(os.getpid()), "", "", *command]
        # A session of its own: Ctrl-C is for the supervisor, which stops the roles in order.
        return await asyncio.create_subprocess_exec(
            *command,
            env=self._environment,
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    def _claim(self) -> None:
        """One supervisor for each data folder."""
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = (self.settings.data_dir / "up.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip()
            lock.close()
            raise NotifierError(
                f"Notifier is up on the data folder {self.settings.data_dir} already (process {pid});"
                " stop that one, or name another folder in NOTIFIER_DATA_DIR"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if child.returncode is None:
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass  # it ended this moment


def tie_to_parent(pid: int | None) -> None:
    """Makes this process end when the process `pid`, its parent, does; `make demo` asks for it. Linux only.

    Raises NotifierError when that parent is gone already.
    """
    if pid is None or sys.platform != "linux":
        return
    launcher.die_with_parent(signal.SIGTERM)
    if os.getppid() != pid:
        raise NotifierError("whoever started this has ended, so it ends too")
