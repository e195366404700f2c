"""Windows: whether sends kept within a limit, as a service counts them."""

from collections import deque
from collections.abc import Iterable


def most_within(times: Iterable[float], seconds: float) -> int:
    """The most sends that any `seconds` have seen."""
    window: deque[float] = deque()
    most = 0
    for at in sorted(times):
        window.append(at)
        while window[0] <= at - seconds:
            window.popleft()
        most = max(most, len(window))
    return most
