"""Heard: what the filters of a configuration say about one recipient, in short or step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from control_api.explain.verdicts import fails
from control_api.explain.words import without_prefix
from filters.chain import Chain, Verdict
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate
from notifier.user import User


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """One recipient, with what the filters say."""

    user: User | None  # none: everyone, or the user's definition cannot be used
    username: str | None
    verdict: Literal["passed", "dropped", "failed"]
    reason: Reason = "ok"
    failure: str = ""  # of a filter, in words
    drop: Verdict | None = None  # that decides; heard step by step alone
    steps: Sequence[Verdict] | None = None  # none: heard in short

    @property
    def is_known(self) -> bool:
        """Whether the user's definition can be used."""
        return self.user is not None or self.username is None


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """Asks the filters of one configuration about one message."""

    chain: Chain
    message: Message
    users: frozenset[str]  # of the configuration
    at: datetime
    sender: User | None

    def in_short(self, user: User | None) -> Heard:
        """What is decided, without words for each step: it costs a tenth."""
        verdict = self.chain.judge(self._candidate(user))
        return Heard(
            user=user,
            username=None if user is None else user.username,
            verdict="passed" if verdict.passed else "dropped" if verdict.failure is None else "failed",
            reason=verdict.reason,
            failure="" if verdict.failure is None else str(verdict.failure),
        )

    def by_steps(self, user: User | None) -> Heard:
        """What each filter says. The first that drops decides, else the first that fails."""
        steps = self.chain.explain(self._candidate(user))
        against = [step for step in steps if not step.passed]
        drop = next((step for step in against if not fails(step)), None)
        decisive = drop or (against[0] if against else None)
        return Heard(
            user=user,
            username=None if user is None else user.username,
            verdict="passed" if decisive is None else "failed" if drop is None else "dropped",
            reason="ok" if decisive is None else decisive.reason,
            failure="" if decisive is None or drop is not None else without_prefix(decisive.says),
            drop=drop,
            steps=steps,
        )

    def _candidate(self, user: User | None) -> Candidate:
        return Candidate(message=self.message, users=self.users, at=self.at, sender=self.sender, receiver=user)
