"""The process of a role: its log, its signals, its event loop and its exit status. The work itself is the role's package's.

    exit status   why
    0             the work has ended in order: SIGTERM or SIGINT (Ctrl-C) set `stop`, or it had nothing left to do
    1, 2, 3       NotifierError: its `exit_code`, with a log record and one line `notifier: …` on standard error
    130           a second Ctrl-C: the process ends at once, as if it were killed; what was at work is done again

Signals count from the call of `run_role`. One that comes before the event loop runs ends the process before the work begins.
A further SIGTERM changes nothing, also while the process ends.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

from notifier.errors import NotifierError
from notifier.log import configure
from notifier.settings import Settings

logger = logging.getLogger(__name__)

INTERRUPTED = 130  # as a shell has it for a command that SIGINT ended

RoleWork = Callable[[asyncio.Event], Awaitable[None]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def run_role(settings: Settings, role: str, work: RoleWork, loop_factory: LoopFactory | None = None) -> int:
    """Runs `work(stop)` as this process, in its main thread; returns the exit status. `loop_factory`: None is asyncio's own.

    `work` ends in order once `stop` is set, and raises NotifierError when it cannot go on. Any other exception is a fault of
    the program and is raised. The process is expected to end with the status: its signal handlers stay.
    """
    signals = _Signals()
    try:
        configure(settings, role)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(signals.run(work))
    except NotifierError as error:
        logger.critical("The role %s cannot go on: %s", role, error, extra={"action": "stop"})
        print(f"notifier: {error}", file=sys.stderr)  # for people, as the command line prints every error
        return error.exit_code or 1
    finally:
        signals.end()
    return 0


class _Signals:
    """SIGTERM and SIGINT of this process, from now on.

    `signal.signal` rather than the loop's `add_signal_handler`: the loop's handlers begin late and end early, and a signal
    outside them has its default action. They also wait for a loop that is busy, which a second Ctrl-C must not.
    """

    def __init__(self) -> None:
        self._count = 0
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    async def run(self, work: RoleWork) -> None:
        """Runs the work, unless a signal has come already."""
        self._loop = asyncio.get_running_loop()
        if self._count == 0:  # after the line above, so that a signal either counts here or is handed to the loop
            await work(self._stop)

    def end(self) -> None:
        """SIGTERM is ignored and SIGINT has its default action from now on, which outlasts the end of the interpreter."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1 and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
