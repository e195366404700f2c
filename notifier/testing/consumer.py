"""Consumers: held against a stand-in for their service, one case for each way in which the service may answer."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from notifier.delivery import Delivery, delivery_id
from notifier.message import Message
from notifier.outcome import Outcome, Reason
from notifier.plugin import Consumer, Context, Result, result_of
from notifier.testing.secrets import logged, tell_no_secret
from notifier.testing.service import Reply, Service

Follows = Literal["done", "again", "given up", "paused"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the service answers, and what must become of the delivery."""

    name: str
    replies: Sequence[Reply] = ()
    outcome: Outcome
    reason: Reason
    waits_s: float | None = None  # the next try is not earlier than that; none: the service says nothing of it
    requests: int | None = 1  # that the service gets; none: it does not matter

    def __str__(self) -> str:
        return self.name

    @property
    def follows(self) -> Follows:
        """What a delivery worker does then."""
        return follows(Result(outcome=self.outcome, reason=self.reason))


def follows(result: Result) -> Follows:
    """What a delivery worker does after a result."""
    if result.outcome in ("accepted", "suppressed"):
        return "done"
    if result.reason == "unauthorized":
        return "paused"  # the consumer; nothing is given up
    return "given up" if result.outcome == "refused" else "again"


def http_cases(ok: Reply, **others: Case | None) -> list[Case]:
    """The cases of any service that speaks HTTP. `ok` is how it says that it took a message.

    `others` replace cases by name, with `_` for each blank, or take them out (None): where a service uses a status in a sense
    of its own.
    """
    cases = [
        Case(name="taken", replies=[ok], outcome="accepted", reason="ok"),
        *(_refused(status, reason) for status, reason in _REFUSALS.items()),
        Case(name="busy", replies=[Reply(status=429)], outcome="deferred", reason="rate_limited"),
        _busy("busy for seven seconds", 429, "7", 7.0),
        _busy("busy for an odd time", 429, "soon", None),
        _busy("busy for less than nothing", 429, "-5", None),
        Case(name="down", replies=[Reply(status=500)], outcome="deferred", reason="server_error"),
        Case(name="down behind a proxy", replies=[Reply(status=502, body=b"<html>")], **_DOWN),
        Case(name="down for half a minute", replies=[_after(503, "30")], waits_s=30.0, **_DOWN),
        Case(name="elsewhere", replies=[Reply(status=302, headers={"Location": "/other"}), ok], **_DOWN),
        Case(name="no answer", replies=[Reply(fault="hang up")], **_UNSURE),
        Case(name="half an answer", replies=[Reply(fault="cut", status=500)], requests=1, **_DOWN),
    ]
    named = {case.name: case for case in cases}
    for name, other in others.items():
        given = name.replace("_", " ")
        if other is None:
            del named[given]
        else:
            named[given] = replace(other, name=given)
    return list(named.values())


_REFUSALS: Mapping[int, Reason] = {
    400: "invalid_content",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    410: "not_found",
    413: "invalid_content",
    422: "invalid_content",
}
_DOWN: Mapping[str, Any] = {"outcome": "deferred", "reason": "server_error"}
_UNSURE: Mapping[str, Any] = {"outcome": "unknown", "reason": "connection"}


def _refused(status: int, reason: Reason) -> Case:
    return Case(name=f"refused with {status}", replies=[Reply(status=status)], outcome="refused", reason=reason)


def _after(status: int, seconds: str) -> Reply:
    return Reply(status=status, headers={"Retry-After": seconds})


def _busy(name: str, status: int, seconds: str, waits_s: float | None) -> Case:
    return Case(
        name=name, replies=[_after(status, seconds)], outcome="deferred", reason="rate_limited", waits_s=waits_s
    )


async def hold(
    consumer: Consumer[Any], case: Case, service: Service | None, delivery: Delivery, context: Context
) -> Result:
    """Has the consumer deliver once while the service answers as the case says. Raises AssertionError; answers the Result.

    `context` leads to the service, where the parameters do not. Without `service`, one that does not speak HTTP answers as the
    test has it answer, and nobody counts its requests.
    """
    if service is not None:
        service.replies = deque(case.replies)
        service.requests.clear()
    with logged() as lines:
        result = await tried(consumer, delivery, context)
    assert (result.outcome, result.reason) == (case.outcome, case.reason), (case.name, result)
    assert follows(result) == case.follows, (case.name, result)
    if case.waits_s is not None:
        assert result.retry_after_s is not None, (case.name, "the service said how long to wait", result)
        assert result.retry_after_s >= case.waits_s, (case.name, result)
    if service is not None and case.requests is not None:
        assert len(service.requests) == case.requests, (case.name, service.requests)
    tell_no_secret(consumer, case.name, [result.detail or "", *lines])
    return result


async def tried(consumer: Consumer[Any], delivery: Delivery, context: Context) -> Result:
    """The Result of one call, also where the consumer raises or takes too long: as a delivery worker records it."""
    try:
        async with asyncio.timeout(consumer.timeout_s()):
            (result,) = await consumer.deliver([delivery], context)
    except TimeoutError:
        return Result(outcome="unknown", reason="timeout", detail="no answer in time")
    except Exception as error:  # what a consumer raises is the trial's subject
        return result_of(error)
    return result


def a_delivery(content: str = "build failed", *, consumer: str = "pager", **fields: Any) -> Delivery:
    """A delivery from octocat to alice, as the router makes it; `fields` are those of Delivery."""
    message = Message(producer="ci", id="42", content=content)
    given: dict[str, Any] = {"recipient": "alice", "receiver": "alice", "sender": "octocat", **fields}
    return Delivery(
        id=delivery_id("ci", "42", "all", consumer, "alice"),
        configuration="all",
        configuration_version=1,
        consumer=consumer,
        lane=consumer,
        message=msgspec.Raw(message.encode()),
        message_id="42",
        **given,
    )
