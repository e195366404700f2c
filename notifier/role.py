"""The process of a role: its log, its signals, its event loop and its exit status. The work itself is the role's package's.

    exit status   why
    0             the work has ended in order: SIGTERM or SIGINT (Ctrl-C) set `stop`, or it had nothing left to do
    1, 2, 3       NotifierError: its `exit_code`, with a log record and one line `notifier: …` on standard error
    130           a second Ctrl-C cancelled the work before it had ended

Signals count from the call of `run_role` to the end of the process. A signal that comes before the event loop runs ends the
process before the work begins; one that comes after the work has ended changes nothing. Nor does a further SIGTERM: asking
twice does not make an orderly stop a disorderly one.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

from notifier.errors import NotifierError
from notifier.log import configure
from notifier.settings import Settings

logger = logging.getLogger(__name__)

INTERRUPTED = 130  # the exit status of a command that Ctrl-C ended

Work = Callable[[asyncio.Event], Awaitable[None]]


def run_role(settings: Settings, role: str, work: Work) -> int:
    """Runs `work(stop)` as this process, in its main thread; returns the exit status, see above.

    `work` ends in order once `stop` is set, and raises NotifierError when it cannot go on. A second Ctrl-C cancels it; work
    that returns all the same has ended in order. Any other exception is a fault of the program and is raised.
    """
    signals = _Signals()
    try:
        configure(settings, role)
        asyncio.run(signals.run(work))
    except NotifierError as error:
        logger.critical("The role %s cannot go on: %s", role, error, extra={"action": "stop"})
        print(f"notifier: {error}", file=sys.stderr)  # for people, as the command line prints every error
        return error.exit_code or 1
    except asyncio.CancelledError:
        if signals.count < 2:  # the work cancelled itself
            raise
        logger.warning("The role %s was interrupted before it had stopped.", role, extra={"action": "stop"})
        return INTERRUPTED
    return 0


class _Signals:
    """SIGTERM and SIGINT of this process, handled from now on.

    `signal.signal` rather than the loop's `add_signal_handler`: the loop's handlers begin late and end early, and a signal
    outside them would end the process with its default action.
    """

    def __init__(self) -> None:
        self.count = 0
        self._stop = asyncio.Event()
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    async def run(self, work: Work) -> None:
        """Runs the work, unless a signal has come already."""
        task = asyncio.current_task()
        assert task is not None
        self._running = asyncio.get_running_loop(), task
        if self.count == 0:  # looked at last, so that a signal either counts here or is handed to the loop
            await work(self._stop)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self._running is not None and not self._running[0].is_closed():
            self._running[0].call_soon_threadsafe(self._tell, number, self._running[1])

    def _tell(self, number: int, task: asyncio.Task[None]) -> None:
        if self._stop.is_set() and number == signal.SIGINT:
            task.cancel()
        self._stop.set()
