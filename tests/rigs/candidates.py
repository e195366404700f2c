"""Filters as the router makes them, and candidates for them to judge: the people, the moment, the messages."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time
from typing import Any, cast

import pytest

from filters import BUILT_IN
from filters.chain import AnyFilter
from notifier.message import Message
from notifier.plugin import Candidate
from notifier.registry import Registry
from notifier.user import User
from notifier.working_time import WorkingTime

REGISTRY = Registry(BUILT_IN)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # a Monday
OFFICE = WorkingTime(start=time(9), end=time(18), days=frozenset({"mon", "tue"}))
NIGHT = WorkingTime(start=time(22), end=time(6))
ALICE = User(username="alice", working_time=OFFICE)
BOB = User(username="bob", on_leave=True)
CAROL = User(username="carol", working_time=NIGHT)
DAVE = User(username="dave")


def make(type_: str, **parameters: Any) -> AnyFilter:
    """A filter as the router makes it from a definition."""
    return cast("AnyFilter", REGISTRY.build("filter", "f", type_, parameters, None))


def about(
    content: str = "build failed",
    *,
    to: User | None = ALICE,
    by: User | None = None,
    users: Iterable[str] = ("alice", "bob"),
    at: datetime = NOON,
    **fields: Any,
) -> Candidate:
    """A candidate: `to` and `by` are the users that the router found, `fields` more of the message."""
    message = Message.from_object({"producer": "ci", "content": content, **fields})
    return Candidate(message=message, users=frozenset(users), at=at, sender=by, receiver=to)


def table(*rows: tuple[Any, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Runs a test once for each row; the row's first column is its name."""
    return pytest.mark.parametrize("row", [row[1:] for row in rows], ids=[row[0] for row in rows])
