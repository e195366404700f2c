"""Tied process: ties a command's life to its parent's. A small program that becomes the command (exec).

`tied_command` builds its command line, `python -I -S tied_process.py TIE PARENT_PID HOLDER ADDRESS COMMAND…`; the embedded
broker, the children of `notifier up` and the benchmarks are started so. It imports nothing but the standard library. TIE:

- `signal`   Linux: the kernel kills the command when the thread that started it ends. PR_SET_PDEATHSIG survives exec. Of no use
             to a thread that ends before its process;
- `pipe:FD`  anywhere: a second, tiny process reads the pipe FD, whose other end only the parent has, and kills the command
             at end of file;
- `none`     no tie: the command becomes a daemon, and this program ends with status 0 once it has started.

HOLDER, unless empty, is a file that the command keeps locked while it lives; the file holds `{"pid", "address"}`. The lock
passes to the command as an open file. So a folder never has two brokers, and a broker whose starter was killed before it
could write anything down is still found. Exit status 125: HOLDER is locked; 126: COMMAND cannot be run.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
from collections.abc import Sequence

HELD, CANNOT_RUN = 125, 126
PR_SET_PDEATHSIG = 1


def tied_command(command: Sequence[str], tie: str = "signal", holder: str = "", address: str = "") -> list[str]:
    """The argument list that starts `command` (the program's full path first) as a tied child of this process."""
    return [sys.executable, "-I", "-S", __file__, tie, str(os.getpid()), holder, address, *command]


def main() -> None:
    tie, parent, holder, address, *command = sys.argv[1:]
    if tie == "none":
        _become_daemon()
    else:
        if tie == "signal":
            die_with_parent(signal.SIGKILL)
        else:
            _watch(int(tie.partition(":")[2]))
        if os.getppid() != int(parent):  # the parent died before the tie held
            os._exit(1)
    if holder:
        _hold(holder, address)
    try:
        os.execv(command[0], command)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(CANNOT_RUN)


def die_with_parent(number: signal.Signals) -> None:
    """Asks Linux to send this process the signal when the thread that started it ends."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        print(f"prctl: {os.strerror(ctypes.get_errno())}", file=sys.stderr, flush=True)
        os._exit(CANNOT_RUN)


def _watch(pipe: int) -> None:
    """Forks a watcher that kills this process at the pipe's end of file, and ends when this process has ended."""
    command = os.getpid()
    if os.fork() != 0:
        os.close(pipe)
        return
    while os.getppid() == command:
        readable, _, _ = select.select([pipe], [], [], 0.5)
        if readable and os.getppid() == command and not os.read(pipe, 1):
            with contextlib.suppress(ProcessLookupError):
                os.kill(command, signal.SIGKILL)
            break
    os._exit(0)


def _become_daemon() -> None:
    """Goes on in a child that init adopts. The first process ends once exec has closed the pipe between the two."""
    started, running = os.pipe()  # both are closed on exec
    if os.fork() == 0:
        os.close(started)
        return
    os.close(running)
    os.read(started, 1)
    os._exit(0)


def _hold(holder: str, address: str) -> None:
    file = os.open(holder, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os._exit(HELD)
    os.ftruncate(file, 0)
    os.write(file, json.dumps({"pid": os.getpid(), "address": address}).encode())
    os.set_inheritable(file, True)


if __name__ == "__main__":
    main()
