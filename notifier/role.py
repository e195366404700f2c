"""The process of a role: its log, its signals, its event loop and its exit status. The work itself is the role's package's.

    exit status   why
    0             the work has ended in order: SIGTERM or SIGINT (Ctrl-C) set `stop`, or the work had nothing left to do
    1, 2, 3       NotifierError: its `exit_code`, with a log record and one line `notifier: …` on standard error
    130           a second Ctrl-C cancelled the work before it had ended

Signals count as soon as `run_role` is called. One that comes before the event loop runs ends the process before the work
begins. A further SIGTERM changes nothing: an orderly stop is not made disorderly by whoever asks twice.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from notifier.errors import NotifierError
from notifier.log import configure
from notifier.settings import Settings

logger = logging.getLogger(__name__)

INTERRUPTED = 130  # the exit status of a shell's command that SIGINT ended
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_role(settings: Settings, role: str, work: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Runs `work(stop)` as this process, in its main thread; returns the exit status, see above.

    `work` ends in order once `stop` is set, and raises NotifierError when it cannot go on. It is cancelled by a second
    Ctrl-C; if it returns all the same, the exit status is 0. Any other exception is a fault of the program and is raised.
    """
    with _noted_signals() as received:
        try:
            configure(settings, role)
            asyncio.run(_run(work, received))
        except NotifierError as error:
            logger.critical("The %s cannot go on: %s", role, error, extra={"action": "stop"})
            print(f"notifier: {error}", file=sys.stderr)  # for people, as the command line prints every error
            return error.exit_code or 1
        except asyncio.CancelledError:
            if len(received) < 2:  # cancelled by itself
                raise
            logger.warning("The %s was interrupted before it had stopped.", role, extra={"action": "stop"})
            return INTERRUPTED
    return 0


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """The signals that have come so far, for as long as the block runs; until a loop handles them, they are only noted."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _run(work: Callable[[asyncio.Event], Awaitable[None]], received: list[int]) -> None:
    stop = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def take(number: int) -> None:
        received.append(number)
        if stop.is_set() and number == signal.SIGINT:
            task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, take, number)
    # Only now: a signal before this line is in the list, a signal after it sets `stop`.
    if not received:
        await work(stop)
