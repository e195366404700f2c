"""Progress: whether a stream stands still. A worker that stands still while its topic grows must be replaced, not waited for.

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
    """Notices partitions whose finished offset stands still for `stall_s` seconds while their end grows.

    Waiting for a broker that is away is no stall: then the end does not grow.
    """

    def __init__(self, stall_s: float = STALL_S) -> None:
        self._stall_s = stall_s
        self._seen: dict[tuple[str, int], _Standstill] = {}

    def stalled(self, progress: Mapping[tuple[str, int], tuple[int, int]], at: float) -> list[tuple[str, int]]:
        """The partitions that are stalled at `at` (monotonic seconds), given (finished offset, end) of each partition of ours."""
        found = []
        for partition in self._seen.keys() - progress.keys():
            del self._seen[partition]
        for partition, (offset, end) in progress.items():
            before = self._seen.get(partition)
            if before is None or before.offset != offset or before.offset >= before.end:
                self._seen[partition] = _Standstill(offset=offset, end=end, since=at)
            elif end > before.end and at - before.since > self._stall_s:
                found.append(partition)
        return sorted(found)
