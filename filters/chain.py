"""Chain: the filters of a configuration, asked in order. The plain interpreter, and the reference for the compiled form.

A filter that raises, or whose definition cannot be used, fails: nobody knows whether the message may pass, so it goes no
further, unless the filter has `on_error: pass`. The filters behind it are asked all the same: what one of them drops is
dropped, whatever the failed filter would have said.

The router's routes (`streams.router`) decide exactly as a chain does. No state, no I/O. Resolving names and building
candidates is `filters.decision`'s.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from notifier.errors import NotifierError
from notifier.one_line import one_line
from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter, FilterParameters

logger = logging.getLogger(__name__)

AnyFilter = Filter[Any]

_DROP_REASONS = tuple([reason for reason in get_args(Reason) if reason != "ok"])
_LOG_EVERY_S = 60.0
_logged: dict[str, float] = {}  # filter's name → monotonic time of its last logged failure


class FilterFailed(NotifierError):
    """A filter cannot say whether a message passes; the text names the filter and the cause."""

    def __init__(self, filter_: str, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.filter = filter_
        self.reason = reason  # as a DeadLetter records it: filter_failed or filter_unusable


class Unusable(Filter[FilterParameters]):
    """Stands in a chain for a filter whose definition cannot be used."""

    type = "unusable"
    Parameters = FilterParameters

    def __init__(self, name: str, why: str) -> None:
        super().__init__(FilterParameters())
        self._name = name
        self._why = why

    def accepts(self, candidate: Candidate) -> bool:
        """Raises FilterFailed."""
        raise FilterFailed(self._name, "filter_unusable", self._why)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one filter of a chain says about one candidate."""

    filter: str  # name of its definition
    type: str  # its plugin type
    passed: bool
    says: str  # for people: "drops: the content contains 'wip'"
    reached: bool  # false for a filter after the first that drops
    reason: Reason = "ok"  # why the filter drops the candidate or fails, as it is recorded; `ok`: it passes


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainVerdict:
    """What a chain decides about one candidate: what its first filter that drops says, or else the first that fails."""

    passed: bool
    filter: str | None = None  # name of the filter that drops the candidate or fails; none: it passes
    reason: Reason = "ok"  # why, as an Attempt or a DeadLetter records it; `ok`: it passes
    failure: FilterFailed | None = None  # how the filter failed; none: it drops the candidate, or the candidate passes


PASSED = ChainVerdict(passed=True)


def ask(name: str, filter_: AnyFilter, candidate: Candidate) -> bool:
    """Whether a filter lets a candidate pass. What it raises is logged, at most once a minute.

    Raises FilterFailed, and nothing else, where the filter raises and has not `on_error: pass`.
    """
    try:
        return filter_.passes(candidate)
    except FilterFailed as failure:
        _log_failure(name, str(failure), None)
        raise
    except Exception as error:  # a plugin's fault must neither lose a message nor stop the router
        text = f"the filter {name} failed: {told(error)}"
        if getattr(filter_.parameters, "on_error", None) == "pass":
            _log_failure(name, f"{text}; it lets pass what it cannot judge", error)
            return True
        _log_failure(name, text, error)
        raise FilterFailed(name, "filter_failed", text) from error


def reason_of(name: str, filter_: AnyFilter, candidate: Candidate) -> Reason:
    """Why a filter dropped a candidate; the reason of the filter's type where it raises, or answers no word for one."""
    try:
        reason = filter_.reason_for(candidate)
        if reason in _DROP_REASONS:
            return reason
    except Exception as error:  # a plugin's fault, as in `ask`
        _log_failure(name, f"the filter {name} cannot say why it drops: {told(error)}", error)
    return filter_.reason if filter_.reason in _DROP_REASONS else "filtered"


def told(error: BaseException) -> str:
    """What a plugin raised, on one line that any record can hold. Does not raise."""
    try:
        text = f"{type(error).__name__}: {one_line(error)}"
        return text.encode(errors="replace").decode()
    except Exception:  # an error that cannot be shown
        return type(error).__name__


class Chain:
    """Filters with the names of their definitions, in the configuration's order. Without filters everything passes."""

    def __init__(self, filters: Sequence[tuple[str, AnyFilter]]) -> None:
        self.filters = tuple(filters)

    def judge(self, candidate: Candidate) -> ChainVerdict:
        """Asks the filters in order up to the first that drops. Does not raise."""
        first: FilterFailed | None = None
        for name, filter_ in self.filters:
            try:
                passed = ask(name, filter_, candidate)
            except FilterFailed as failure:
                first = first or failure.with_traceback(None)  # which refers to this frame
                continue
            if not passed:
                return ChainVerdict(passed=False, filter=name, reason=reason_of(name, filter_, candidate))
        if first is not None:
            return ChainVerdict(passed=False, filter=first.filter, reason=first.reason, failure=first)
        return PASSED

    def explain(self, candidate: Candidate) -> list[Verdict]:
        """The verdict of every filter, also of those after the first that drops. Does not raise.

        The first verdict that drops is the chain's, or else the first that fails. A filter that raises has that in `says`.
        """
        verdicts: list[Verdict] = []
        reached = True
        for name, filter_ in self.filters:
            reason: Reason = "ok"
            failed = False
            try:
                passed = ask(name, filter_, candidate)
                says = _says(filter_, candidate, passed)
                if not passed:
                    reason = reason_of(name, filter_, candidate)
            except FilterFailed as failure:
                failed, passed, says, reason = True, False, f"fails: {failure}", failure.reason
            verdicts.append(
                Verdict(filter=name, type=filter_.type, passed=passed, says=says, reached=reached, reason=reason)
            )
            reached = reached and (passed or failed)
        return verdicts


def _says(filter_: AnyFilter, candidate: Candidate, passed: bool) -> str:
    try:
        return filter_.says(candidate)
    except Exception as error:  # `ask` has logged a filter that raises; here it is shown
        if passed:
            return f"passes: the filter failed and lets pass what it cannot judge ({told(error)})"
        return f"drops: the filter cannot say why ({told(error)})"


def _log_failure(name: str, text: str, error: Exception | None) -> None:
    now = time.monotonic()
    last = _logged.get(name)
    if last is not None and now - last < _LOG_EVERY_S:
        return
    _logged[name] = now
    logger.error("%s", text[:1].upper() + text[1:], exc_info=error, extra={"action": "filter", "filter": name})
