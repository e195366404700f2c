"""Progress: whether a worker stands still. One that stands still while its topic grows must be replaced, not waited for.

A busy worker is not one that stands still: a batch of heavy fan-out may take minutes, and the other partitions wait for it.

Faust's own detector only logs. `streams.app` ends the process when it finds a stall here, and the supervisor starts another.
"""

from collections.abc import Mapping
from dataclasses import dataclass

STALL_S = 60.0


@dataclass(frozen=True, kw_only=True)
class _Standstill:
    offset: int  # where it stands
    end: int  # the partition's end when it began to stand there
    since: float  # in monotonic seconds


class Progress:
    """Notices a worker that gets nowhere for `stall_s` seconds while partitions of it grow.

    It gets somewhere when the finished offset of any of its partitions moves, or `worked` does. Waiting for a broker that is away
    is no stall: then the end does not grow.
    """

    def __init__(self, stall_s: float | None = None) -> None:
        self._stall_s = STALL_S if stall_s is None else stall_s
        self._seen: dict[tuple[str, int], _Standstill] = {}
        self._worked = 0
        self._moved = float("-inf")  # when the worker last got somewhere

    def stalled(
        self, progress: Mapping[tuple[str, int], tuple[int, int]], at: float, worked: int = 0
    ) -> list[tuple[str, int]]:
        """The partitions that grow while the worker stands still, at `at` (monotonic seconds).

        Given are (finished offset, end) of each partition of ours, and a number that grows with the work on them.
        """
        moved = [partition for partition, (offset, _) in progress.items() if self._moves(partition, offset)]
        if moved or worked != self._worked:
            self._worked, self._moved = worked, at
        found = []
        for partition in self._seen.keys() - progress.keys():
            del self._seen[partition]
        for partition, (offset, end) in progress.items():
            before = self._seen.get(partition)
            if before is None or before.offset != offset or before.offset >= before.end:
                self._seen[partition] = _Standstill(offset=offset, end=end, since=at)
            elif end > before.end and at - max(before.since, self._moved) > self._stall_s:
                found.append(partition)
        return sorted(found)

    def _moves(self, partition: tuple[str, int], offset: int) -> bool:
        before = self._seen.get(partition)
        return before is not None and before.offset != offset
