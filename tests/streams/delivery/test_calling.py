"""Calls of consumers on a real broker: time limits, batches, scripts, and definitions that change."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from consumers import BUILT_IN
from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.kafka import ensure_topics
from notifier.plugin import Consumer, ConsumerParameters, Context, Result
from notifier.registry import Registry
from notifier.sandbox import Level, Sandbox
from notifier.settings import Settings
from notifier.topics import deliveries
from streams.delivery.calling import Calling, batch_of
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
    define,
    define_sink,
    make,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import wait_until
from tests.rigs.sink import Sink


async def test_a_call_that_takes_too_long_is_unknown_and_tried_again(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1,))
    await define_sink(settings, plan={"0": ["hang", "accept"]}, timeout_s=2)
    await send(settings, [make("0")])
    async with working(settings):
        found = await wait_for_attempts(settings, 1, outcome="accepted")
    assert [(a.outcome, a.reason) for a in found] == [("unknown", "timeout"), ("accepted", "ok")]


async def test_a_failed_batch_is_tried_again_one_by_one(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1, 0.1), lane_wait_s=60.0)
    path = await define_sink(settings, size=10, plan={"2": ["fail"]})
    await send(settings, [make(str(n), number=n) for n in range(5)])
    async with working(settings):
        found = await wait_for_attempts(settings, 4, outcome="accepted")
        await wait_until(lambda: len(seen(path)) >= 3 + 6)
    assert [a.message for a in found if a.outcome == "accepted"] == ["m-0-0", "m-1-1", "m-3-3", "m-4-4"]
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.delivery) == ("exhausted", make("2", number=2).id)


async def test_a_changed_definition_is_used_and_the_old_instance_closed(settings: Settings) -> None:
    path = await define_sink(settings, otherwise="refuse")
    await send(settings, [make("0")])
    closed = Sink.closed
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="refused")
        await define(settings, "sink", {"type": "sink", "parameters": {"path": str(path)}}, revision=2)
        await wait_until(lambda: Sink.closed == closed + 1)
        await send(settings, [make("1", number=1)])
        await wait_for_attempts(settings, 1, outcome="accepted")
    assert Sink.closed == closed + 2


@pytest.mark.predecessor("S-51", "S-54")
async def test_a_script_is_run_and_a_changed_one_is_used_for_the_next_delivery(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1,))
    count = "import json, sys\nsys.exit('{}: ' + ' '.join(item['content'] for item in json.load(sys.stdin)))"
    await define(settings, "work", {"executor": "python", "content": count.format("no")}, kind="script")
    await ensure_topics(settings, [deliveries("to-script", 4)])
    await define(settings, "to-script", {"type": "script", "parameters": {"script": "work", "batch": 3}}, revision=2)
    await send(settings, [make(str(n), consumer="to-script", lane="to-script", number=n) for n in range(3)])
    async with working(settings, Registry(BUILT_IN)):
        found = await wait_for_attempts(settings, 3, outcome="refused")
        assert {(a.outcome, a.reason) for a in found} == {("deferred", "script_failed"), ("refused", "script_failed")}
        assert [a.detail for a in found if a.message == "m-2-2" and a.number == 2] == [
            "script 'work' ended with exit status 1: no: 2"
        ]
        spec = {"executor": "python", "content": "print()"}
        await define(settings, "work", spec, kind="script", revision=3)
        number = 3
        while not [one for one in await attempts(settings) if one.outcome == "accepted"]:  # until it is read
            await send(settings, [make(str(number), consumer="to-script", lane="to-script", number=number)])
            number += 1
            await asyncio.sleep(0.5)
    letters = [(letter.reason, letter.attempts) for letter in await dead_letters(settings)]
    assert letters[:3] == [("exhausted", 2)] * 3


class OddParameters(ConsumerParameters):
    """Parameters of Odd."""


class Odd(Consumer[OddParameters]):
    """A plugin that nobody has checked."""

    type = "odd"
    Parameters = OddParameters
    answer: Any = None

    def batch(self) -> int:
        raise RuntimeError("no size")

    def fixed_address(self) -> bool:
        raise RuntimeError("no address")

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


ANSWERS: list[tuple[Any, str]] = [
    (None, "deferred"),
    (7, "deferred"),
    ("x", "unknown"),
    ([None], "unknown"),
    ([{"outcome": "accepted"}], "unknown"),
    ([Result(), Result()], "unknown"),
    ([Result(outcome="done")], "unknown"),  # type: ignore[arg-type]
    ([Result(outcome=[])], "unknown"),  # type: ignore[arg-type]
    ([Result(reason="because")], "unknown"),  # type: ignore[arg-type]
    ([Result(detail=b"x")], "unknown"),  # type: ignore[arg-type]
    ([Result(retry_after_s="soon")], "unknown"),  # type: ignore[arg-type]
    (asyncio.CancelledError(), "deferred"),
    (RuntimeError("\ud83d"), "deferred"),
    ([Result(detail="a lone \ud83d")], "accepted"),
]


@pytest.mark.parametrize(("answer", "outcome"), ANSWERS, ids=lambda value: repr(value)[:60])
async def test_whatever_a_plugin_answers_is_a_result_that_can_be_recorded(answer: Any, outcome: str) -> None:
    sandbox = Sandbox(level=Level.none, explanation="none")
    calling = Calling(sandbox, Catalog(registry=Registry((Odd,))), {})
    instance = Odd(OddParameters())
    instance.answer = answer
    (result,) = (await calling.call(instance, [make("0")])).results
    assert result.outcome == outcome
    (result.detail or "").encode()
    assert batch_of(instance) == 1


async def test_a_faulty_plugin_delays_only_itself(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.1,), lane_wait_s=60.0)
    path = await define_sink(settings)
    await ensure_topics(settings, [deliveries("odd")])
    await define(settings, "odd", {"type": "odd"})
    await send(settings, [make("0", consumer="odd")])
    async with working(settings, Registry((Odd, Sink))):
        await wait_for_attempts(settings, 1, outcome="refused")
        await send(settings, [make("1")])
        await wait_until(lambda: len(seen(path)) == 1)
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.delivery) == ("exhausted", make("0", consumer="odd").id)
