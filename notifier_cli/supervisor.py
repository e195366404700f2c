"""The supervisor behind `up` and `demo`: the embedded broker and every role as a child process, kept running.

Restarts and back-off of the roles are `notifier_cli.children`'s; the broker is restarted here. On Linux the kernel kills all
of them when this process ends, even by SIGKILL. An orderly end stops first the roles that take messages in, then the router,
then delivery, and the broker last.
"""

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from notifier import tied_process
from notifier.errors import NotifierError
from notifier.kafka import ensure_topics, running_broker
from notifier.settings import Settings
from notifier.topics import TOPICS
from notifier_cli.children import LONGEST_PAUSE_S, Children
from streams.broker.broker import EmbeddedBroker

logger = logging.getLogger(__name__)

ROLES = ("api", "ticker", "runner", "router", "delivery")  # in the order in which they are stopped
BROKER_WATCH_S = 1.0  # between two checks that the broker's process lives


class Supervisor:
    """All processes of one data folder. Only one supervisor of a folder exists at a time."""

    def __init__(
        self,
        settings: Settings,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`environment` and `folder` are the children's, by default this process's own. `say` is given lines for people."""
        self.settings = settings
        self._say = say
        self._broker = EmbeddedBroker(settings)
        self._broker_watch: asyncio.Task[None] | None = None
        self._children = Children(environment=environment, folder=folder, say=say)
        self._lock: IO[str] | None = None

    async def start(self) -> None:
        """Starts everything; returns when the processes exist. Raises NotifierError, with nothing left running."""
        self._claim()
        try:
            if self.settings.embedded_broker:
                self._say("starting the Kafka broker …")
                # In this thread, because the kernel kills a child when the thread that started it ends.
                address = self._broker.start(die_with_parent=True)
                self._say(f"the broker accepts clients on {address}")
                await ensure_topics(self.settings, TOPICS)
        except BaseException:
            self._release()
            raise
        for role in ROLES:
            self._children.keep(role, role)
        if self.settings.embedded_broker and self._broker.started_here:
            self._broker_watch = asyncio.create_task(self._keep_broker(), name="keep broker")

    def ask_to_stop(self) -> None:
        """Ends `wait`. The second call kills the roles at once."""
        self._children.ask_to_stop()

    async def wait(self) -> int:
        """Waits for `ask_to_stop`, or for a role whose settings are wrong. Returns the exit status."""
        return await self._children.wait()

    async def stop(self) -> None:
        """Stops the roles in order, then the broker."""
        for role in ROLES:
            await self._children.stop(role)
        if self._broker_watch is not None:
            await asyncio.gather(self._broker_watch, return_exceptions=True)
        if self.settings.embedded_broker and self._broker.started_here:
            await asyncio.to_thread(self._broker.stop)
        self._release()

    async def _keep_broker(self) -> None:
        """Restarts the broker when its process has ended. Its data are on disk, and clients reconnect by themselves."""
        known = running_broker(self.settings)
        pause = BROKER_WATCH_S
        while not await self._children.stops_within(pause):
            pause = BROKER_WATCH_S
            if running_broker(self.settings) is not None:
                continue
            self._say("the broker has ended and is started again")
            try:
                # In this thread, as the first time. It blocks the roles' watchers, which need a broker anyway.
                address = self._broker.start(die_with_parent=True)
            except NotifierError as error:
                pause = LONGEST_PAUSE_S
                self._say(f"the broker cannot be started, the next try is in {pause:.0f} s: {error}")
            else:
                self._say(f"the broker accepts clients on {address}")
                if address != known:  # with a free port; the running roles know only the old address
                    known = address
                    self._children.renew()

    def _claim(self) -> None:
        """Locks the data folder. Raises NotifierError where another supervisor holds the lock."""
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


def tie_to_parent(pid: int | None) -> None:
    """Has this process end with its parent, the process `pid`; `make demo` asks for it. Does nothing but on Linux.

    Raises NotifierError when the parent has ended already.
    """
    if pid is None or sys.platform != "linux":
        return
    tied_process.die_with_parent(signal.SIGTERM)
    if os.getppid() != pid:
        raise NotifierError("whoever started this has ended, so it ends too")
