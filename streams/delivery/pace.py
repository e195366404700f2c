"""Pace: when the sends with one credential may begin, by the limits that its service sets. No I/O and no clock of its own.

A send counts from its beginning until so long after its end as the limit says. When within that time the service takes notice
of it is unknown; counted so, the service sees no more than the limit within any of its windows, however long answers take.

Whoever waits gets a turn in the order of asking, those that may overtake first; of four turns one is an other's all the same,
so that nobody starves. A wait that the service asks for closes what it is about, and makes that slower for some minutes:
the numbers of a limit are where a service begins, not what it promises.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from notifier.plugin import Limit

SLOWER = 1.5  # times as long every window is after each wait that the service asked for
SLOWEST = 8.0
RECOVERS_S = 300.0  # in which what a window is too long by shrinks to a third
TOGETHER_S = 10.0  # waits of several addresses within this are about the credential
IDLE_S = 3600.0
LONG_S = 10.0  # a window of at least this is long
RESERVED = 10  # of so many sends within a long window one is left to those that overtake
KEPT_WINDOWS = 1000  # beyond which those that nobody uses are forgotten, when as many are new
_OVERTAKE_IN_A_ROW = 3
_COUNTED = 1000  # sends that are remembered before it is known how many a limit counts


class Window:
    """The sends to one address, or with the whole credential, as far as limits count them.

    What was sent before `begun` is unknown to short windows, so they begin as if they were used up. Long ones are told, by
    `Pace.count`.
    """

    def __init__(self, begun: float) -> None:
        self.under_way = 0
        self.closed_until = -math.inf
        self._begun = begun
        self._ended: deque[float] = deque()  # when, oldest first; as many as any limit counts
        self._most = 0
        self._slow, self._slow_at = 1.0, begun  # how many times as long as the limits say, and when it was so

    def free_at(self, limit: Limit, reserved: int, at: float) -> float:
        """When a send may begin; infinite where that depends on one that is under way."""
        self._most = max(self._most, limit.count)
        left = max(1, limit.count - reserved) - self.under_way  # so many of those that ended may be within the window
        if left <= 0:
            return math.inf
        free = at if limit.seconds >= LONG_S else max(at, self._begun + limit.seconds)
        if left <= len(self._ended):
            free = max(free, self._ended[-left] + limit.seconds * self._slowness(at))
        return max(free, self.closed_until)

    def count(self, at: float) -> None:
        """Counts a send that ended at a moment."""
        self._ended.append(at)
        if len(self._ended) > 1 and self._ended[-2] > at:
            self._ended = deque(sorted(self._ended))
        while len(self._ended) > (self._most or _COUNTED):
            self._ended.popleft()

    def slow_down(self, at: float) -> None:
        """The service was asked too often."""
        self._slow, self._slow_at = min(self._slowness(at) * SLOWER, SLOWEST), at

    def is_idle(self, at: float) -> bool:
        """Whether it may be forgotten: nothing that it knows counts any more."""
        last = max(self._begun, self._slow_at, self._ended[-1] if self._ended else self._begun) + IDLE_S
        return not self.under_way and max(last, self.closed_until) < at

    def _slowness(self, at: float) -> float:
        return 1.0 if self._slow == 1.0 else 1.0 + (self._slow - 1.0) * math.exp((self._slow_at - at) / RECOVERS_S)


@dataclass(kw_only=True, eq=False, slots=True)
class Turn:
    """A send that waits for its turn, and counts once it was granted."""

    limits: Sequence[Limit]
    place: int  # in the order of asking
    granted_to: Callable[[], None]  # called when its turn has come
    overtakes: bool = False
    yields: bool = False  # it leaves the reserve of long windows to those that overtake
    granted: bool = False
    withdrawn: bool = False
    windows: dict[str, Window] = field(default_factory=dict)  # by address; the credential's under the empty one

    def __lt__(self, other: "Turn") -> bool:
        return self.place < other.place


class Pace:
    """The sends with one credential. Times are those of any one clock, in seconds; they never go back."""

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._windows: dict[str, Window] = {}
        self._kept = KEPT_WINDOWS
        self._overtaking: list[Turn] = []  # heaps by place
        self._others: list[Turn] = []
        self._later: list[tuple[float, Turn]] = []  # a heap by when their address is free
        self._behind: dict[str, list[Turn]] = {}  # address → whoever waits until a send to it ends
        self._place = 0
        self._in_a_row = 0
        self._told: dict[str, float] = {}  # address → when the service asked it to wait

    def next_place(self) -> int:
        """The place behind all that were given before."""
        self._place += 1
        return self._place

    def ask(self, turn: Turn, at: float) -> None:
        """Has a turn wait. `grant` gives it, at once or in a later call."""
        turn.windows = {limit.of: self._window(limit.of, at) for limit in turn.limits}
        self._queue(turn)

    def grant(self, at: float) -> None:
        """Gives all turns that may begin now."""
        while self._later and self._later[0][0] <= at:
            self._queue(heapq.heappop(self._later)[1])
        while (turn := self._first(at)) is not None:
            self._in_a_row = self._in_a_row + 1 if turn.overtakes else 0
            for window in turn.windows.values():
                window.under_way += 1
            turn.granted = True
            turn.granted_to()

    def next_at(self, at: float) -> float:
        """When `grant` is to be called again; infinite where it gives nothing before a send ends or somebody asks."""
        firsts = [self._free_at(turns[0], at)[0] for turns in (self._overtaking, self._others) if turns]
        return min([*firsts, *(at for at, _ in self._later[:1])], default=math.inf)

    def end(self, turn: Turn, at: float) -> None:
        """The send of a granted turn has ended."""
        for window in turn.windows.values():
            window.count(at)
        self.give_back(turn)

    def give_back(self, turn: Turn) -> None:
        """Nothing is sent in this turn, granted or not."""
        turn.withdrawn = True
        if turn.granted:
            for of, window in turn.windows.items():
                window.under_way -= 1
                for waiting in self._behind.pop(of, ()):
                    self._queue(waiting)

    def count(self, of: str, at: float) -> None:
        """Counts a send to an address that was made at a moment by whoever had the credential before."""
        self._window(of, at).count(at)

    def told(self, address: str, until: float, at: float) -> None:
        """The service asked to send nothing to an address before `until`. Asked so for several, all of them wait."""
        self._told[address] = at
        self._told = {name: told_at for name, told_at in self._told.items() if told_at > at - TOGETHER_S}
        for of in {address, ""} if len(self._told) > 1 else {address}:
            window = self._window(of, at)
            window.closed_until = max(window.closed_until, until)
            window.slow_down(at)

    def forget_told(self) -> None:
        """Opens what the service asked to close: somebody who knows better has changed the consumer."""
        self._told = {}
        for window in self._windows.values():
            window.closed_until = -math.inf
        later, self._later = self._later, []
        for _, turn in later:
            self._queue(turn)

    def _queue(self, turn: Turn) -> None:
        if not turn.withdrawn:
            heapq.heappush(self._overtaking if turn.overtakes else self._others, turn)

    def _first(self, at: float) -> Turn | None:
        """Takes out whose turn it is; puts those aside whose own address is not free."""
        queues = [self._overtaking, self._others]
        for turns in reversed(queues) if self._in_a_row >= _OVERTAKE_IN_A_ROW else queues:
            while turns:
                free, of = self._free_at(turns[0], at)
                if not turns[0].withdrawn and free > at and not of:
                    break  # all wait for the credential
                turn = heapq.heappop(turns)
                if turn.withdrawn:
                    continue
                if free <= at:
                    return turn
                if free < math.inf:
                    heapq.heappush(self._later, (free, turn))
                else:
                    self._behind.setdefault(of, []).append(turn)
        return None

    def _free_at(self, turn: Turn, at: float) -> tuple[float, str]:
        """When a turn may come, and the address that it waits for: empty where its own is free."""
        own = shared = at
        waits_for = ""
        for limit in turn.limits:
            reserved = limit.count // RESERVED if turn.yields and limit.seconds >= LONG_S else 0
            free = turn.windows[limit.of].free_at(limit, reserved, at)
            if not limit.of:
                shared = max(shared, free)
            elif free > own:
                own, waits_for = free, limit.of
        return (own, waits_for) if waits_for else (shared, "")

    def _window(self, of: str, at: float) -> Window:
        found = self._windows.get(of)
        if found is None:
            if len(self._windows) >= self._kept:
                used = {id(window) for turn in self._waiting() for window in turn.windows.values()}
                self._windows = {
                    of: window for of, window in self._windows.items() if id(window) in used or not window.is_idle(at)
                }
                self._kept = len(self._windows) + KEPT_WINDOWS
            found = self._windows[of] = Window(self._begun)
        return found

    def _waiting(self) -> list[Turn]:
        turns = [*self._overtaking, *self._others, *(turn for _, turn in self._later)]
        return turns + [turn for behind in self._behind.values() for turn in behind]
