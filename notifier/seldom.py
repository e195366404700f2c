"""Seldom: lines that any writer of a topic can cause, at most a few a minute, so that bad records do not flood the log."""

import logging
from time import monotonic
from typing import Any

MOST = 10  # lines of one text
EVERY_S = 60.0


class Seldom:
    """Logs the first `most` lines of each text within `every_s` seconds; the next one after says how many were left out."""

    def __init__(self, logger: logging.Logger, *, most: int = MOST, every_s: float = EVERY_S) -> None:
        self._logger = logger
        self._most = most
        self._every_s = every_s
        self._said: dict[
            str, tuple[float, int]
        ] = {}  # by text without arguments: when it began, and how many came since

    def log(
        self, level: int, text: str, *args: object, extra: dict[str, Any], error: BaseException | None = None
    ) -> None:
        """Logs a line, or only counts it. `error` is shown with its traceback."""
        at = monotonic()
        began, count = self._said.get(text, (at, 0))
        if at - began >= self._every_s:
            if count > self._most:
                extra = {**extra, "left_out": count - self._most}
            began, count = at, 0
        self._said[text] = (began, count + 1)
        if count < self._most:
            self._logger.log(level, text, *args, exc_info=error, extra=extra, stacklevel=2)
