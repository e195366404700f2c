"""Producers: held against a stand-in for their source, and against hooks of every shape."""

import asyncio
import copy
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from notifier.errors import DeliveryError, InputError, InvalidRecord, Retryable
from notifier.message import check_message_object
from notifier.outcome import Reason
from notifier.plugin import Context, Hook, Producer
from notifier.record import JsonObject
from notifier.testing.secrets import logged, tell_no_secret
from notifier.testing.service import Reply, Service

_REFUSALS: dict[int, Reason] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    410: "not_found",
    429: "rate_limited",
    500: "server_error",
    502: "server_error",
    503: "server_error",
}
_UNREADABLE: tuple[Reason, ...] = ("server_error", "invalid_content")
_PASSED_S = 0.5  # between the answer and the error that says how long to wait
_DEEP = 200  # levels; more than any service sends


@dataclass(frozen=True, kw_only=True)
class PullCase:
    """What the source answers, and what the producer must make of it."""

    name: str
    replies: Sequence[Reply] = ()
    messages: int | None = None  # that it gives; none: it must fail
    reasons: Sequence[Reason] = ()  # one of which its error has; none: it may give something, or fail for any reason
    waits_s: float | None = None  # what its error says of how long to wait at least
    requests: int | None = None  # that the source gets at most

    def __str__(self) -> str:
        return self.name


def pull_cases(ok: Reply, messages: int, **others: PullCase | None) -> list[PullCase]:
    """The cases of any source that speaks HTTP. `ok` is an answer with so many messages in it.

    `others` replace cases by name, with `_` for each blank, or take them out (None).
    """
    cases = [
        PullCase(name="answered", replies=[ok], messages=messages),
        *(
            PullCase(name=f"refused with {status}", replies=[Reply(status=status)], reasons=[reason])
            for status, reason in _REFUSALS.items()
        ),
        PullCase(
            name="busy for seven seconds",
            replies=[Reply(status=429, headers={"Retry-After": "7"})],
            reasons=["rate_limited"],
            waits_s=7.0,
        ),
        PullCase(
            name="busy for an odd time",
            replies=[Reply(status=429, headers={"Retry-After": "soon"})],
            reasons=["rate_limited"],
        ),
        PullCase(
            name="elsewhere",
            replies=[Reply(status=302, headers={"Location": "http://localhost:9/"}), ok],
            reasons=_UNREADABLE,
            requests=1,
        ),
        PullCase(name="no answer", replies=[Reply(fault="hang up")], reasons=["connection"]),
        PullCase(name="half an answer", replies=[Reply(fault="cut")], reasons=["connection", "server_error"]),
        PullCase(name="no JSON", replies=[Reply(body=b"<html>Sign in</html>")], reasons=_UNREADABLE),
        PullCase(name="a flood", replies=[Reply(body=b'["' + b"a" * 10_000_000 + b'"]')]),
        PullCase(name="a deep answer", replies=[Reply(body=b"[" * 100_000 + b"]" * 100_000)]),
    ]
    named = {case.name: case for case in cases}
    for name, other in others.items():
        given = name.replace("_", " ")
        if other is None:
            del named[given]
        else:
            named[given] = replace(other, name=given)
    return list(named.values())


async def hold_producer(
    producer: Producer[Any], case: PullCase, service: Service | None, context: Context
) -> list[JsonObject]:
    """Asks the producer as the runner does, while its source answers as the case says. Raises AssertionError.

    Answers the messages. What it gives must be messages, or InvalidRecord for what is none, each with an id of its own; asked
    again, the same things must have the same ids. What it raises must be Permanent or Retryable, with a reason of the case.
    """
    with logged() as lines:
        items, error = await _asked(producer, case, service, context)
        texts = [str(error or ""), *map(str, items), *lines]
        tell_no_secret(producer, case.name, texts)
        if case.messages is None and case.reasons:
            assert error is not None, f"{case.name}: it gave {len(items)} items and did not say that it failed"
            assert error.reason in case.reasons, f"{case.name}: {error.reason}, for {error}"
        if error is not None:
            assert case.messages is None, f"{case.name}: {error.reason}: {error}"
            assert str(error).strip(), f"{case.name}: it fails without words"
            if case.waits_s is not None:
                waits = (error.retry_after_s if isinstance(error, Retryable) else None) or 0.0
                assert waits + _PASSED_S >= case.waits_s, (
                    f"{case.name}: it does not wait as it was told, but {waits:g} s"
                )
            return []
        found = _checked(producer, case.name, items)
        if case.messages is not None:
            assert len(found) == case.messages, f"{case.name}: {len(found)} messages, not {case.messages}: {found}"
            again, error = await _asked(producer, case, service, context)
            assert error is None, f"{case.name}: asked again it fails: {error}"
            ids = {message["id"] for message in found if "id" in message}
            others = [item for item in _checked(producer, case.name, again) if item.get("id") not in ids | {None}]
            assert not others, f"{case.name}: asked again, the same things have other ids: {others[:3]}"
    return found


async def _asked(
    producer: Producer[Any], case: PullCase, service: Service | None, context: Context
) -> tuple[list[object], DeliveryError | None]:
    if service is not None:
        service.replies = deque(case.replies)
        service.requests.clear()
    try:
        async with asyncio.timeout(producer.timeout_s()):
            items: list[object] = list(await producer.produce(context))
    except DeliveryError as error:
        return [], error
    except Exception as error:  # what a producer raises is the trial's subject
        raise AssertionError(f"{case.name}: it raises {type(error).__name__}: {error}") from error
    finally:
        if service is not None and case.requests is not None:
            assert len(service.requests) <= case.requests, f"{case.name}: {len(service.requests)} requests"
    return items, None


# --- hooks ---


async def hold_hook(
    producer: Producer[Any], hook: Hook, context: Context, messages: int | None = None
) -> list[JsonObject]:
    """Hands a hook to the producer as the control API does. Raises AssertionError; answers the messages.

    `messages`: how many they must be. Without it the hook may be odd, and be refused by InputError.
    """
    with logged() as lines:
        try:
            async with asyncio.timeout(60.0):
                received = await producer.received(copy.deepcopy(hook), context)
                again = await producer.received(copy.deepcopy(hook), context)
        except InputError as error:
            if messages is not None:
                raise AssertionError(f"the hook is refused: {error}") from error
            tell_no_secret(producer, "the hook", [str(error), *lines])
            return []
        except Exception as error:  # as above
            raise AssertionError(f"{hook.payload!r:.200}: it raises {type(error).__name__}: {error}") from error
    found = _checked(producer, "the hook", received.messages)
    assert messages is None or len(found) == messages, f"{len(found)} messages, not {messages}: {found}"
    named = [[message.get("id") for message in result.messages] for result in (received, again)]
    assert named[0] == named[1], f"the same hook again has other ids: {named}"
    tell_no_secret(producer, "the hook", [*map(str, found), received.detail or "", *lines])
    return found


def odd_payloads(payload: Any) -> Iterator[Any]:
    """The payload with any one part taken out, or in its place something else: null, a number, a text, a list, an object."""
    yield from (None, [], {}, 0, "", "text", True, [None], {"": None}, _deep())
    yield from _changed(payload)


def _changed(value: Any) -> Iterator[Any]:
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = list(value)
    elif isinstance(value, list):
        parts = range(len(value))
    for part in parts:
        without = copy.copy(value)
        del without[part]
        yield without
        for other in (None, -1, 1e300, "", "\ud800", [], {}, [None], {"a": [1]}, True):
            yield _with(value, part, other)
        for other in _changed(value[part]):
            yield _with(value, part, other)


def _with(value: Any, part: Any, other: Any) -> Any:
    changed = copy.copy(value)
    changed[part] = other
    return changed


def _deep() -> Any:
    value: Any = "deep"
    for _ in range(_DEEP):
        value = [value]
    return value


# --- messages ---


def _checked(producer: Producer[Any], case: str, items: Iterable[object]) -> list[JsonObject]:
    """The messages among the items, as they are written. Raises AssertionError."""
    found: list[JsonObject] = []
    for item in items:
        if isinstance(item, InvalidRecord):
            continue
        assert isinstance(item, dict), f"{case}: {item!r:.200} is no JSON object"
        try:
            check_message_object({**item, "producer": producer.type})
        except Exception as error:  # as above
            raise AssertionError(f"{case}: {item!r:.200} is no message: {error}") from error
        found.append(msgspec.json.decode(msgspec.json.encode(item)))
    ids = [message["id"] for message in found if message.get("id") is not None]
    assert len(ids) == len(set(ids)), f"{case}: two messages have the same id: {sorted(map(str, ids))[:20]}"
    return found
