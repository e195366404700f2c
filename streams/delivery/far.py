"""Far: deliveries far behind the head of their lane, of which only the offset is kept.

So a partition can be read on past thousands that wait. They are read again, by `streams.delivery.rereading`, when they come near
the head; which ones go and come is decided by `streams.delivery.lanes`.
"""

from array import array
from collections.abc import Iterator, Sequence


class Far:
    """The offsets of one partition that are far behind, by lane, each lane's in order; critical ones by themselves."""

    def __init__(self) -> None:
        self._plain: dict[str, array[int]] = {}
        self._critical: dict[str, array[int]] = {}
        self._count = 0
        self._first: int | None = None  # the lowest offset, or a lower one that is gone
        self._gone = 0  # taken out since that was looked for

    def __len__(self) -> int:
        return self._count

    def has(self, lane: str, critical: bool) -> bool:
        """Whether any of a lane is far behind, so that what follows it is so too."""
        return lane in self._of(critical)

    @property
    def first(self) -> int | None:
        """The lowest offset; where there are very many lanes, perhaps one that was it a moment ago."""
        if (
            self._gone * 100 >= self._count
        ):  # to look through all of them each time would take a quarter of the event loop
            self._gone = 0
            found = (offsets[0] for lanes in (self._critical, self._plain) for offsets in lanes.values())
            self._first = min(found, default=None)
        return self._first

    def add(self, lane: str, offsets: Sequence[int], critical: bool) -> None:
        """Adds offsets of one lane, all of them below or all above those that it has."""
        lanes = self._of(critical)
        before = lanes.get(lane)
        if before is None:
            lanes[lane] = array("q", offsets)
        elif offsets[0] < before[0]:
            before[0:0] = array("q", offsets)
        else:
            before.extend(offsets)
        self._count += len(offsets)
        self._first = offsets[0] if self._first is None else min(self._first, offsets[0])

    def lanes(self) -> Iterator[tuple[str, Sequence[int]]]:
        """The offsets that come next, by lane: the critical ones, and the others of lanes that have no critical ones.

        Of equals, those come first that began to be far behind first.
        """
        yield from self._critical.items()
        yield from (item for item in self._plain.items() if item[0] not in self._critical)

    def remove(self, lane: str, offset: int) -> bool | None:
        """Takes the first of a lane out, and says whether it is a critical one; None where the offset is not the first."""
        for critical in (True, False):
            offsets = self._of(critical).get(lane)
            if offsets is not None and offsets[0] == offset:
                del offsets[0]
                if not offsets:
                    del self._of(critical)[lane]
                self._count -= 1
                self._gone += 1
                return critical
        return None

    def clear(self) -> None:
        """Forgets all of them."""
        self._plain.clear()
        self._critical.clear()
        self._count = 0
        self._first = None

    def _of(self, critical: bool) -> dict[str, "array[int]"]:
        return self._critical if critical else self._plain
