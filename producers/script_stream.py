"""ScriptStream: the objects that a script prints while it runs, one a line, handed on in batches as they come.

Only JSON Lines can be taken before the script has ended. Output whose first line is no JSON object, such as an array, is left for
its end, and none of it is handed on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from notifier.errors import InvalidRecord
from notifier.record import JsonObject

BATCH = 500  # items that are handed on at once
_SHOWN_CHARACTERS = 200  # of a line that is not JSON, in its error
_BOM = b"\xef\xbb\xbf"

Items = Sequence[JsonObject | InvalidRecord]


class ScriptStream:
    """Takes output in pieces, and hands on what the lines in it are. `write` runs beside the script."""

    def __init__(self, emit: Callable[[Items], Awaitable[None]]) -> None:
        self._emit = emit
        self._rest = bytearray()  # of the output: a line that has no end yet
        self._lines: list[tuple[int, bytes]] = []  # with their numbers, not handed on yet
        self._number = 0  # of the last line
        self._woken = asyncio.Event()
        self._ended = False
        self.streams: bool | None = None  # whether the output is JSON Lines; not known yet

    def take(self, data: bytes) -> None:
        """Takes the next piece of standard output."""
        if self.streams is False:
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._take_line(bytes(self._rest) + line)
            self._rest.clear()
        self._rest += rest  # in place: a line may have megabytes, and come byte by byte

    def end(self, *, whole: bool) -> None:
        """Nothing comes any more; `whole`: the script has printed all it wanted, so the last line needs no end."""
        if whole and self.streams:
            self._take_line(bytes(self._rest))
        self._ended = True
        self._woken.set()

    async def write(self) -> None:
        """Hands on what comes, until `end`. Raises what `emit` does."""
        while not self._ended or self._lines:
            await self._woken.wait()
            if not self._ended:
                self._woken.clear()
            batch, self._lines = self._lines[:BATCH], self._lines[BATCH:]
            if self._lines:
                self._woken.set()
            if batch:
                await self._emit([_item(number, line) for number, line in batch])

    def _take_line(self, line: bytes) -> None:
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_BOM)
        if self.streams is False or not line.strip():
            return
        if self.streams is None:
            self.streams = _is_object(line)
            if not self.streams:
                return
        self._lines.append((self._number, line))
        self._woken.set()


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _item(number: int, line: bytes) -> Any:
    """The value in a line. What is none is a dead letter of the run, and costs no other line."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return InvalidRecord(
            f"line {number} of the output is not JSON ({plain(error)}): {shown(line)}",
            line.decode(errors="replace").encode(),
        )


def shown(line: bytes) -> str:
    """The beginning of a line that is not JSON, for an error."""
    return repr(line.decode(errors="replace").strip()[:_SHOWN_CHARACTERS])


def plain(error: Exception) -> str:
    """What is wrong with JSON, in few words."""
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).removeprefix("JSON is malformed: ")
