"""bwrap: how the launcher talks with the program bwrap, over the pipes that it is given.

The command line of bwrap, which says what the script sees, is `notifier.sandbox.views`'s. Standard library only,
because the launcher runs without any other package.
"""

from __future__ import annotations

import os

from notifier.sandbox import seccomp

try:
    import fcntl
except ImportError:  # not Unix: nothing here works there, but importing must
    pass

TYPE_CHECKING = False  # type checkers know better; the import would cost the launcher milliseconds
if TYPE_CHECKING:
    from notifier.sandbox.order import Status

_CLEAR_FD = 10  # descriptors that bwrap is given begin here, out of the way of those that the script gets


class Pipes:
    """The pipes between the launcher and one bwrap: its report, the block before the script starts, and the filter."""

    def __init__(self, network: bool) -> None:
        # bwrap writes JSON to its end: the first process at the start, the exit code at the end.
        self.report, reports = _clear_pipe()
        block, self._unblock = _clear_pipe()
        self.options = ["--json-status-fd", str(reports), "--block-fd", str(block)]
        self._passed = [reports, block]
        if seccomp.machine_known():
            calls, filled = _clear_pipe()
            os.write(filled, seccomp.call_filter(network=network, same_user=False, abi=0))
            os.close(filled)
            self.options += ["--seccomp", str(calls)]
            self._passed.append(calls)

    def pass_on(self) -> None:
        """In the child that becomes bwrap: leaves bwrap's ends open over exec."""
        for number in self._passed:
            os.set_inheritable(number, True)

    def wait_for_start(self) -> int:
        """In the launcher: the first process of bwrap's namespaces, as numbered here; 0 where bwrap could not make them.

        The script waits for `unblock`.
        """
        for number in self._passed:
            os.close(number)
        said = os.read(self.report, 4096)  # nothing, where bwrap could not do what was asked
        return _number_after(said, b'"child-pid":') or 0

    def unblock(self) -> None:
        """Lets the script start."""
        try:
            os.write(self._unblock, b"\n")
        except OSError:  # bwrap has given up; its exit says so
            pass
        os.close(self._unblock)


def exit_status(report: int, code: int) -> Status:
    """What bwrap's exit code means: the script's own exit, or that bwrap could not do what was asked."""
    reported = _number_after(os.read(report, 4096), b'"exit-code":')
    if reported is not None:
        return {"ended": "exit", "code": reported}
    if code > 128:  # bwrap was killed, by the kernel for want of memory perhaps
        return {"ended": "exit", "code": code}
    return {"ended": "refused", "error": ""}  # bwrap has said why on standard error


def _number_after(text: bytes, word: bytes) -> int | None:
    _, found, rest = text.partition(word)
    digits = rest.split(b",")[0].split(b"}")[0].strip()
    return int(digits) if found else None


def _clear_pipe() -> tuple[int, int]:
    """A pipe whose ends are out of the way of the numbers that the script gets."""
    ends = os.pipe()
    clear = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _CLEAR_FD) for end in ends]
    for end in ends:
        os.close(end)
    return clear[0], clear[1]
