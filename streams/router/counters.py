"""DropCounters: how many recipients each configuration's filters dropped, by reason, written to `attempts` once a second.

What the steps of a route drop is counted one by one; what the index drops is taken from `Matcher.tally`.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice

from notifier.attempt import Counter, Counters
from notifier.outcome import Reason
from notifier.record import now
from notifier.topics import ATTEMPTS
from streams.outputs.outputs import Outbox, Outputs
from streams.router.matcher import Matcher

logger = logging.getLogger(__name__)

COUNT_EVERY_S = 1.0
LAST_S = 5.0  # in which the last counters have to be acknowledged when the router stops
_COUNTERS = 2_000  # of one record, which then has 100 KiB and takes milliseconds to encode

Counts = defaultdict[Reason, defaultdict[str, int]]  # by configuration


class DropCounters:
    """Counts drops; from `start` to `stop` it also writes them."""

    def __init__(self, outputs: Outputs, matcher: Matcher, worker: str) -> None:
        self._outputs = outputs
        self._matcher = matcher
        self._worker = worker  # names this process in the records
        self.counts = _no_counts()  # since the last record
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.create_task(self._keep_sending(), name="counters")

    async def stop(self) -> None:
        """Writes the last counters."""
        task, self._task = self._task, None
        if task is None:
            return
        self._ending.set()
        try:
            async with asyncio.timeout(LAST_S):
                await task
        except TimeoutError:
            logger.warning("The last counters could not be written.", extra={"action": "count"})

    def take_tally(self) -> None:
        """Takes what the index dropped from the matcher."""
        for part in self._matcher.tally():
            self._add(part)

    def _add(self, dropped: Mapping[str, int]) -> None:
        counts = self.counts["filtered"]
        for configuration, count in dropped.items():
            counts[configuration] += count

    async def _keep_sending(self) -> None:
        while not self._ending.is_set():
            try:
                async with asyncio.timeout(COUNT_EVERY_S):
                    await self._ending.wait()
            except TimeoutError:
                pass
            await self._send()  # never cut off between two parts of a tally, which would lose the others

    async def _send(self) -> None:
        for part in self._matcher.tally():
            self._add(part)
            await asyncio.sleep(0)  # with many configurations each part takes milliseconds
        counts, self.counts = self.counts, _no_counts()
        outbox = Outbox()
        for some in _divided(counts):
            record = Counters(worker=self._worker, at=now(), counters=some)
            outbox.add(ATTEMPTS.name, self._worker.encode(), record.encode())
            await asyncio.sleep(0)
        await self._outputs.send(outbox)


def _divided(counts: Counts) -> Iterator[tuple[Counter, ...]]:
    for reason, by_name in counts.items():
        left = iter(by_name.items())
        while some := tuple(
            [
                Counter(configuration=configuration, reason=reason, count=count)
                for configuration, count in islice(left, _COUNTERS)
            ]
        ):
            yield some


def _no_counts() -> Counts:
    return defaultdict(_no_numbers)


def _no_numbers() -> defaultdict[str, int]:
    return defaultdict(int)
