"""Verdicts: what single steps, recipients and consumers come to, for the answer."""

from collections.abc import Sequence

from control_api.access.teams import Hidden
from control_api.explain.explanation import (
    ConfigurationVerdict,
    MappingExplanation,
    RecipientExplanation,
    StepExplanation,
)
from control_api.explain.ways import Way
from control_api.explain.words import listed, sentence
from filters.chain import Verdict
from notifier.mapping import Step
from notifier.outcome import Reason


def fails(verdict: Verdict) -> bool:
    """Whether a filter fails, and does not merely drop."""
    return verdict.reason in ("filter_failed", "filter_unusable")


def all_delivered(part: RecipientExplanation) -> bool:
    """Whether every consumer is given it for a recipient, and there is one."""
    return bool(part.consumers) and all(each.verdict == "delivered" for each in part.consumers)


def what_was_set(step: Step, hidden: Hidden) -> MappingExplanation:
    """What a mapping made of a message, as the answer has it. Another team's is not named."""
    name = None if step.mapping in hidden.of("mapping") else step.mapping
    whose = "A mapping of another team" if name is None else f"The mapping {name}"
    return MappingExplanation(mapping=name, set=step.values(), text=sentence(f"{whose} set {step.words()}"))


def step_of(verdict: Verdict, since: str) -> StepExplanation:
    """A filter's verdict as the answer has it."""
    return StepExplanation(
        filter=verdict.filter,
        type=verdict.type,
        verdict="passed" if verdict.passed else "failed" if fails(verdict) else "dropped",
        reason=verdict.reason,
        text=verdict.says + since,
        reached=verdict.reached,
    )


def to_whom(way: Way) -> str:
    """`chat gets it for bob, at 42`."""
    if way.recipients is not None:
        return f"{way.consumer} gets it once, for {listed(way.recipients) if way.recipients else 'everyone'}"
    whom = "" if way.recipient is None else f" for {way.recipient.username}"
    return f"{way.consumer} gets it{whom}" + (f", at {way.address}" if way.address is not None else "")


def verdict_of(parts: Sequence[RecipientExplanation]) -> tuple[ConfigurationVerdict, Reason]:
    """The verdict of a configuration by those of its recipients; the reason where all have the same."""
    consumers = [each for part in parts for each in part.consumers]
    if any(each.verdict == "delivered" for each in consumers):
        return "delivered", "ok"
    if any(part.verdict == "failed" for part in parts):
        return "failed", next(part.reason for part in parts if part.verdict == "failed")
    if consumers:
        reasons = {each.reason for each in consumers}
        return "suppressed", reasons.pop() if len(reasons) == 1 else "filtered"
    if any(part.verdict == "passed" for part in parts):
        return "suppressed", "filtered"  # no consumer
    reasons = {part.reason for part in parts}
    return "dropped", reasons.pop() if len(reasons) == 1 else "filtered"
