"""What becomes the broker's process: a small program that ties its life to its parent's, and then turns into Java.

Run as `python -I -S tied_process.py TIE PARENT_PID HOLDER ADDRESS COMMAND…`, so it imports nothing but the standard library.
Starting it is `streams.broker.broker`'s. TIE says what the command's life hangs on:

- `signal`   Linux: the kernel kills it when the thread that started it ends (PR_SET_PDEATHSIG survives exec), which is no
             use to a thread that ends earlier than its process;
- `pipe:FD`  anywhere: a second, tiny process reads the pipe FD, whose other end only the parent has, and kills the command
             at its end;
- `none`     nothing: the command becomes a daemon, and this program ends with status 0 when it has started.

HOLDER, where it is not empty, is a file that the command keeps locked for as long as it lives, with `{"pid", "address"}` in
it. The lock is passed on to Java as an open file. So there is never a second broker on one folder, and one whose starter was
killed before it could write anything down is still found. Exit status 125: HOLDER is locked; 126: COMMAND cannot be run.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import sys

HELD, CANNOT_RUN = 125, 126
PR_SET_PDEATHSIG = 1


def main() -> None:
    tie, parent, holder, address, *command = sys.argv[1:]
    if tie == "none":
        _become_daemon()
    else:
        if tie == "signal":
            die_with_parent(signal.SIGKILL)
        else:
            _watch(int(tie.partition(":")[2]))
        if os.getppid() != int(parent):  # it died before the tie held
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
    """Leaves a child behind that kills this process at the end of the pipe, and ends when this process has ended."""
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
    """Goes on in a child of init. The first process ends once exec has closed the pipe between the two."""
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
