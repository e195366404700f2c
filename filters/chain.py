"""Chain: the filters of a configuration in their order, asked one after another. The plain interpreter.

`explain`, dry runs and tests use it, and what the router compiles must decide exactly as it does. It keeps no state, waits
for nothing and knows nothing of Kafka; resolving names and building candidates is left to its callers.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter

logger = logging.getLogger(__name__)

AnyFilter = Filter[Any]

_LOG_EVERY_S = 60.0
_logged: dict[str, float] = {}  # filter's name → when its last failure was logged, on the monotonic clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a chain decides about one candidate."""

    passed: bool
    filter: str | None = None  # name of the filter that dropped it; none: it passed
    reason: Reason = "ok"  # why it was dropped, as an Attempt records it; `ok`: it passed


PASSED = Verdict(passed=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one filter of a chain says about one candidate."""

    filter: str  # name of its definition
    type: str  # its plugin type
    passed: bool
    says: str  # for people: "drops: the content contains 'wip'"
    reached: bool  # whether the chain comes to it; false behind the filter that drops
    reason: Reason = "ok"  # `ok`: it passes


def ask(name: str, filter_: AnyFilter, candidate: Candidate) -> bool:
    """Whether one filter lets a candidate pass; a filter that raises drops nothing, and is logged once a minute at most."""
    try:
        return filter_.passes(candidate)
    except Exception as error:  # a plugin's fault must neither lose a message nor stop the router
        _log_failure(name, error)
        return True


def reason_of(name: str, filter_: AnyFilter, candidate: Candidate) -> Reason:
    """Why a filter dropped a candidate; where it cannot say because it raises, the reason of its type."""
    try:
        return filter_.reason_for(candidate)
    except Exception as error:  # as above
        _log_failure(name, error)
        return filter_.reason


class Chain:
    """Filters with the names of their definitions, in the configuration's order. No filters: everything passes."""

    def __init__(self, filters: Sequence[tuple[str, AnyFilter]]) -> None:
        self.filters = tuple(filters)

    def judge(self, candidate: Candidate) -> Verdict:
        """Asks the filters in order and stops at the first that drops. Does not raise."""
        for name, filter_ in self.filters:
            if not ask(name, filter_, candidate):
                return Verdict(passed=False, filter=name, reason=reason_of(name, filter_, candidate))
        return PASSED

    def explain(self, candidate: Candidate) -> list[Step]:
        """What every filter says, those behind the first that drops too. The first step that does not pass is the verdict.

        Does not raise; a filter that does says so.
        """
        steps: list[Step] = []
        reached = True
        for name, filter_ in self.filters:
            passed = ask(name, filter_, candidate)
            steps.append(
                Step(
                    filter=name,
                    type=filter_.type,
                    passed=passed,
                    says=_says(filter_, candidate, passed),
                    reached=reached,
                    reason="ok" if passed else reason_of(name, filter_, candidate),
                )
            )
            reached = reached and passed
        return steps


def _says(filter_: AnyFilter, candidate: Candidate, passed: bool) -> str:
    try:
        return filter_.says(candidate)
    except Exception as error:  # shown to whoever asks, and `ask` logs what matters
        if passed:
            return f"passes: the filter failed and therefore drops nothing ({type(error).__name__}: {error})"
        return f"drops: the filter cannot say why ({type(error).__name__}: {error})"


def _log_failure(name: str, error: Exception) -> None:
    now = time.monotonic()
    last = _logged.get(name)
    if last is not None and now - last < _LOG_EVERY_S:
        return
    _logged[name] = now
    logger.error(
        "The filter %s failed and therefore drops nothing: %s: %s",
        name,
        type(error).__name__,
        error,
        exc_info=error,
        extra={"action": "filter", "filter": name},
    )
