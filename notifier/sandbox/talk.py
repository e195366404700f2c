"""Talk: the event loop's side of a run. Feeds standard input, takes both outputs, hears the launcher, and ends the run."""

import asyncio
import marshal
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import psutil

from notifier.sandbox import launcher
from notifier.sandbox.limits import ScriptLimits
from notifier.sandbox.start import Running
from notifier.sandbox.verdict import Ending, masked

if TYPE_CHECKING:
    from notifier.sandbox.order import Status

GRACE_S: Final = 15.0  # the launcher keeps the time; this much later it is taken for dead
STATUS_BYTES: Final = 4096  # more than a Status needs
_READ_BYTES: Final = 65_536
_READS: Final = 16  # of one pipe at once


class _Sink:
    """Keeps the first bytes that a pipe brings, up to a number, or the last ones."""

    def __init__(self, most: int, *, last: bool) -> None:
        self.kept = bytearray()
        self.total = 0
        self.longest_line = 0
        self._most = most
        self._last = last
        self._line = 0  # length of the line that has no end yet

    def take(self, data: bytes) -> None:
        self.total += len(data)
        self.kept += data
        if len(self.kept) > self._most:
            del self.kept[: -self._most if self._last else None]
        first, *others = data.split(b"\n")
        self._line += len(first)
        for line in others:
            self.longest_line = max(self.longest_line, self._line)
            self._line = len(line)
        self.longest_line = max(self.longest_line, self._line)

    def text(self) -> str:
        return self.kept.decode(errors="replace")


class Talk:
    """The pipes of one run, served by callbacks of the event loop until the launcher has ended.

    Not by the loop's subprocesses: those need a child watcher, or a thread for each, and leave pipes open where something
    still holds the other end.
    """

    def __init__(
        self, running: Running, stdin: bytes, limits: ScriptLimits, printed: Callable[[bytes], None] | None = None
    ) -> None:
        self.stdout = _Sink(limits.output_bytes + 1, last=False)
        self.stderr = _Sink(limits.stderr_bytes, last=True)
        self.too_much: str | None = None  # what the script printed too much of, in words; it is ended for that
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()  # done when the launcher has ended
        self._running = running
        self._limits = limits
        self._printed = printed  # hears of standard output as it comes, within its limit
        self._stdin: memoryview | None = memoryview(stdin)  # still to be written; None: the pipe is closed
        self._said = bytearray()  # by the launcher
        process = running.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._input = process.stdin.fileno()
        self._outputs = {process.stdout.fileno(): self.stdout, process.stderr.fileno(): self.stderr}
        for number in (self._input, *self._outputs, running.control.fileno()):
            os.set_blocking(number, False)
        self._pipes = (process.stdin, process.stdout, process.stderr)
        self._loop.add_reader(running.control, self._hear)
        for number in self._outputs:
            self._loop.add_reader(number, self._read, number)
        self._loop.add_writer(self._input, self._feed)

    def ending(self, secrets: Mapping[str, str]) -> Ending:
        """How the run ended, with the secrets masked in standard error."""
        return Ending(
            status=status_of(self._said),
            too_much=self.too_much,
            stdout=bytes(self.stdout.kept),
            stderr=masked(self.stderr.text(), secrets),
        )

    def stop(self) -> None:
        """Asks the launcher to end the script."""
        try:
            self._running.control.shutdown(socket.SHUT_WR)
        except OSError:  # it has ended
            pass

    async def close(self) -> None:
        """Ends the script if it has not ended, and closes everything, also when cancelled meanwhile."""
        self.stop()
        deadline = self._loop.time() + GRACE_S
        cancelled: asyncio.CancelledError | None = None
        while not self.ended.done() and self._loop.time() < deadline:
            try:
                await asyncio.wait([self.ended], timeout=deadline - self._loop.time())
            except asyncio.CancelledError as error:
                cancelled = error
        process, folder = self._running.process, self._running.folder
        if not self.ended.done():
            process.kill()
        process.wait()  # at once: it has closed its socket or been killed
        for number in (self._running.control.fileno(), *self._outputs):
            self._loop.remove_reader(number)
        if self._stdin is not None:
            self._loop.remove_writer(self._input)
        if not self._said or not sys.platform.startswith("linux"):
            _sweep(folder)
        for number in self._outputs:
            self._read(number)
        for pipe in self._pipes:
            pipe.close()
        self._running.control.close()
        launcher.remove(folder)  # it has done so itself unless it was killed
        if cancelled is not None:
            raise cancelled

    def _hear(self) -> None:
        try:
            data = self._running.control.recv(STATUS_BYTES)
        except BlockingIOError:
            return
        except OSError:  # killed with something unread: as good as an end
            data = b""
        self._said += data
        if not data:
            self._loop.remove_reader(self._running.control)
            if not self.ended.done():
                self.ended.set_result(None)

    def _feed(self) -> None:
        assert self._stdin is not None
        try:
            if self._stdin:
                self._stdin = self._stdin[os.write(self._input, self._stdin) :]
        except BlockingIOError:
            return
        except OSError:  # the script closed it, which is its right
            self._stdin = self._stdin[:0]
        if not self._stdin:
            self._stdin = None
            self._loop.remove_writer(self._input)
            self._pipes[0].close()

    def _read(self, number: int) -> None:
        """Reads until the pipe is empty, or others should get their turn."""
        sink = self._outputs[number]
        for _ in range(_READS):
            try:
                data = os.read(number, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(number)
                return
            if self._printed is not None and sink is self.stdout:
                room = self._limits.output_bytes - sink.total
                if room > 0:
                    self._printed(data[:room])
            sink.take(data)
            self._check(sink)

    def _check(self, sink: _Sink) -> None:
        if self.too_much is not None:
            return
        if sink.total > self._limits.output_bytes:
            name = "standard output" if sink is self.stdout else "standard error"
            self.too_much = f"printed more than {self._limits.output_bytes} bytes on {name} (output_bytes)"
        elif sink is self.stdout and sink.longest_line > self._limits.line_bytes:
            self.too_much = f"printed a line of more than {self._limits.line_bytes} bytes (line_bytes)"
        if self.too_much is not None:
            self.stop()


def status_of(said: bytes | bytearray) -> "Status | None":
    """What the launcher said; None where it was killed before it could."""
    return marshal.loads(said) if said else None  # noqa: S302 - the launcher is ours


def _sweep(folder: str) -> None:
    """Kills processes of a run whose launcher was killed, or could not see all of them, as on macOS.

    Those processes' environment still names the run's folder.
    """
    for _ in range(3):
        found = [process for process in psutil.process_iter() if _names(process, folder)]
        for process in found:
            try:
                process.kill()
            except psutil.Error:  # it has ended
                pass
        if not found:
            return
        psutil.wait_procs(found, timeout=1)


def _names(process: psutil.Process, folder: str) -> bool:
    try:
        return process.environ().get("TMPDIR") == f"{folder}/work"
    except (psutil.Error, OSError):  # it has ended, or is not ours to look into
        return False
