"""Filters: held against candidates of every kind. What a filter declares must decide exactly as it does itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, get_args

from notifier.folded import folded
from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin import Candidate, Filter, Lookup
from notifier.user import User
from notifier.working_time import WorkingTime

_AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # a Monday
_OFFICE = WorkingTime(start=time(9), end=time(18), days=frozenset({"mon", "tue"}), timezone="Europe/Moscow")
_ALICE = User(username="alice", working_time=_OFFICE, additional_info={"github": {"username": "octocat"}})
_BOB = User(username="bob", on_leave=True)
_USERS = frozenset(["alice", "bob"])
_FULL: dict[str, Any] = {
    "id": "42",
    "sender": "Octocat",
    "receiver": "alice",
    "title": "Build",
    "url": "https://ci.example/42",
    "severity": "error",
    "labels": {"team": "infra", "env": ""},
    "occurred_at": _AT - timedelta(hours=1),
    "configuration": "all",
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A candidate for filters to judge."""

    name: str
    candidate: Candidate

    def __str__(self) -> str:
        return self.name


def candidates() -> list[Judged]:
    """Candidates of every kind: bare and full, for people at work, away and unknown, short, long and odd."""
    found: dict[str, Candidate] = {
        "bare": _candidate("build failed"),
        "without text": _candidate(""),
        "full": _candidate("build failed", to=_ALICE, by=_BOB, **_FULL),
        "for somebody on leave": _candidate("build failed", to=_BOB),
        "for a stranger": _candidate("build failed", to=User(username="carol")),
        "for a configuration without users": _candidate("build failed", users=frozenset()),
        "at night": _candidate("build failed", to=_ALICE, at=_AT + timedelta(hours=11)),
        "from nobody known": _candidate("build failed", to=_ALICE, **{**_FULL, "sender": "stranger"}),
        "long": _candidate("word " * 170_000),
        "of one letter": _candidate("a" * 800_000),
        "in other scripts": _candidate("сборка упала 構築失敗 🔥 \u202e\0\n", title="é́", labels={"команда": "ядро"}),
        "with many labels": _candidate("x", labels={f"label-{number}": str(number) for number in range(5_000)}),
    }
    for severity in ("debug", "info", "warning", "critical"):
        found[severity] = _candidate("disk is full", severity=severity)
    return [Judged(name=name, candidate=candidate) for name, candidate in found.items()]


def hold_filter(filter_: Filter[Any], judged: Judged) -> bool:
    """Has the filter judge a candidate in every way in which it may be asked. Raises AssertionError; says whether it passes."""
    candidate, name = judged.candidate, judged.name
    before = _shown(candidate.message)
    accepted = filter_.accepts(candidate)
    assert isinstance(accepted, bool), f"{name}: `accepts` says {accepted!r}, which is neither true nor false"
    assert filter_.accepts(candidate) is accepted, f"{name}: asked again it says something else"
    assert _shown(candidate.message) == before, f"{name}: it changes the message"
    passed = filter_.passes(candidate)
    assert passed is (accepted is not filter_.parameters.negate), f"{name}: `negate` does not turn it round"
    _hold_declarations(filter_, judged, accepted)
    if not passed:
        reason = filter_.reason_for(candidate)
        assert reason in set(get_args(Reason)) - {"ok"}, f"{name}: {reason!r} is no reason"
    for text in (filter_.clause(), filter_.finding(candidate)):
        assert [text.strip()] == text.splitlines(), f"{name}: {text!r} is not words on one line"
    said = filter_.says(candidate)
    assert said.startswith("passes: " if passed else "drops: "), f"{name}: it says {said!r}"
    return passed


def _hold_declarations(filter_: Filter[Any], judged: Judged, accepted: bool) -> None:
    candidate, name = judged.candidate, judged.name
    test = filter_.test()
    if test is not None:
        assert bool(test(candidate.message)) is accepted, f"{name}: `test` decides otherwise than `accepts`"
    lookup = filter_.lookup(candidate.users)
    if lookup is not None:
        found = not lookup.values.isdisjoint(_values(lookup, candidate))
        assert found is accepted, f"{name}: `lookup` decides otherwise than `accepts`"
    until = filter_.holds_until(candidate)
    if until is not None:
        assert until.tzinfo is not None, f"{name}: `holds_until` gives a time without a zone"
        for at in _moments(candidate.at, until):
            later = Candidate(
                message=candidate.message,
                users=candidate.users,
                at=at,
                sender=candidate.sender,
                receiver=candidate.receiver,
            )
            assert filter_.accepts(later) is accepted, f"{name}: at {at} it decides otherwise, before `holds_until`"


def _values(lookup: Lookup, candidate: Candidate) -> Sequence[str | None]:
    """What the router's index finds in a candidate; see `Lookup`."""
    message, field = candidate.message, lookup.field
    if field == "receiver":
        return [None if candidate.receiver is None else candidate.receiver.username]
    if field == "severity":
        return [message.severity]
    if field == "sender":
        names = [None if message.sender is None else folded(message.sender)]
        return names if candidate.sender is None else [*names, folded(candidate.sender.username)]
    assert field.startswith("labels."), f"the index knows no field {field!r}"
    return [message.labels.get(field.removeprefix("labels."), "")]


def _moments(at: datetime, until: datetime) -> list[datetime]:
    end = min(until, at + timedelta(days=400)) if until.year < 9000 else at + timedelta(days=400)
    return [at + (end - at) * part / 8 for part in range(8)] if end > at else []


def _candidate(
    content: str,
    *,
    to: User | None = None,
    by: User | None = None,
    at: datetime = _AT,
    users: frozenset[str] = _USERS,
    **fields: Any,
) -> Candidate:
    message = Message(producer="ci", content=content, **fields)
    return Candidate(message=message, users=users, at=at, sender=by, receiver=to)


def _shown(message: Message) -> str:
    return json.dumps(json.loads(message.encode()), sort_keys=True)
