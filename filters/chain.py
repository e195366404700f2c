"""Chain: the filters of a configuration, asked in order. The plain interpreter, and the reference for the compiled form.

The router's routes (`streams.router`) decide exactly as a chain does. No state, no I/O. Resolving names and building
candidates is `filters.decision`'s.
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
_logged: dict[str, float] = {}  # filter's name → monotonic time of its last logged failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one filter of a chain says about one candidate."""

    filter: str  # name of its definition
    type: str  # its plugin type
    passed: bool
    says: str  # for people: "drops: the content contains 'wip'"
    reached: bool  # false for a filter after the first that drops
    reason: Reason = "ok"  # why the filter drops the candidate, as an Attempt records it; `ok`: it passes


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainVerdict:
    """What a chain decides about one candidate: that of its first filter that drops, if any does."""

    passed: bool
    filter: str | None = None  # name of the filter that drops the candidate; none: it passes
    reason: Reason = "ok"  # why, as an Attempt records it; `ok`: it passes


PASSED = ChainVerdict(passed=True)


def ask(name: str, filter_: AnyFilter, candidate: Candidate) -> bool:
    """Whether a filter lets a candidate pass. A filter that raises drops nothing and is logged, at most once a minute."""
    try:
        return filter_.passes(candidate)
    except Exception as error:  # a plugin's fault must neither lose a message nor stop the router
        _log_failure(name, error)
        return True


def reason_of(name: str, filter_: AnyFilter, candidate: Candidate) -> Reason:
    """Why a filter dropped a candidate; the reason of the filter's type where it raises."""
    try:
        return filter_.reason_for(candidate)
    except Exception as error:  # a plugin's fault, as in `ask`
        _log_failure(name, error)
        return filter_.reason


class Chain:
    """Filters with the names of their definitions, in the configuration's order. Without filters everything passes."""

    def __init__(self, filters: Sequence[tuple[str, AnyFilter]]) -> None:
        self.filters = tuple(filters)

    def judge(self, candidate: Candidate) -> ChainVerdict:
        """Asks the filters in order up to the first that drops. Does not raise."""
        for name, filter_ in self.filters:
            if not ask(name, filter_, candidate):
                return ChainVerdict(passed=False, filter=name, reason=reason_of(name, filter_, candidate))
        return PASSED

    def explain(self, candidate: Candidate) -> list[Verdict]:
        """The verdict of every filter, also of those after the first that drops. Does not raise.

        The first verdict that does not pass is the chain's. A filter that raises has that in `says`.
        """
        verdicts: list[Verdict] = []
        reached = True
        for name, filter_ in self.filters:
            passed = ask(name, filter_, candidate)
            verdicts.append(
                Verdict(
                    filter=name,
                    type=filter_.type,
                    passed=passed,
                    says=_says(filter_, candidate, passed),
                    reached=reached,
                    reason="ok" if passed else reason_of(name, filter_, candidate),
                )
            )
            reached = reached and passed
        return verdicts


def _says(filter_: AnyFilter, candidate: Candidate, passed: bool) -> str:
    try:
        return filter_.says(candidate)
    except Exception as error:  # `ask` has logged a filter that raises; here it is shown
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
