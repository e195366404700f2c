"""Leaving: accepted batches that have left their lane while their attempts are recorded, so that the lane goes on meanwhile.

They stay unfinished, and so hold back the commit, until `streams.delivery.endings` has their attempts acknowledged. At most one
batch of a lane is unrecorded while the next one is called.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from streams.delivery.lanes import Lane, Lanes, Pending
from streams.delivery.recording import Recording

_Task = asyncio.Task[None]


class Leaving:
    """The batches that leave the lanes of one partition. `failed` is called with what makes recording one impossible."""

    def __init__(self, lanes: Lanes, recording: Recording, failed: Callable[[BaseException], None]) -> None:
        self._lanes = lanes
        self._recording = recording
        self._failed = failed
        self._ids: dict[str, dict[_Task, frozenset[str]]] = {}  # of the deliveries, by lane

    def has(self, lane: Lane, delivery: str) -> bool:
        """Whether a delivery with that id is leaving a lane."""
        return bool(self._ids) and any(delivery in ids for ids in self._ids.get(lane.name, {}).values())

    async def let_go(self, lane: Lane, batch: Sequence[Pending], ending: Coroutine[None, None, None]) -> None:
        """Has the first deliveries of a lane leave it while `ending` finishes them.

        Returns when those that left it before are finished. `ending` goes on also where the lanes are cancelled, as long as
        `Recording.finish` lets it.
        """
        before = list(self._ids.get(lane.name, ()))
        for pending in batch:
            pending.leaves = True
        task = self._recording.start(ending)
        ids = frozenset([pending.delivery.id for pending in batch if pending.delivery is not None])
        self._ids.setdefault(lane.name, {})[task] = ids
        task.add_done_callback(partial(self._ended, lane.name, batch))
        await _all_of(before)

    async def wait(self, lane: Lane) -> None:
        """Waits until what is leaving a lane is finished."""
        await _all_of(list(self._ids.get(lane.name, ())))

    def _ended(self, lane: str, batch: Sequence[Pending], task: _Task) -> None:
        ids = self._ids[lane]
        del ids[task]
        if not ids:
            del self._ids[lane]
        self._lanes.end(batch)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


async def _all_of(tasks: Sequence[_Task]) -> None:
    if tasks:
        await asyncio.wait(tasks)
