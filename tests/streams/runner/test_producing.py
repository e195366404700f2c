"""Asking producers, without a run: what one does fails it alone."""

import asyncio
from typing import Any

from notifier.catalog import Catalog
from notifier.sandbox import Level, Sandbox
from streams.runner.producing import Asked, Producing
from tests.rigs.kafka_tools import wait_until
from tests.rigs.runner_rig import REGISTRY, Say, SayParameters


class Cancels(Say):
    """Says that it was cancelled, where nobody did so."""

    async def produce(self, context: Any) -> Any:
        raise asyncio.CancelledError


class Emits(Say):
    """Emits what it says."""

    async def produce(self, context: Any) -> Any:
        await asyncio.gather(*(context.emit([item]) for item in self.parameters.items))
        return await super().produce(context)


def producing_of(plugin: Say) -> Producing:
    sandbox = Sandbox(level=Level.none, explanation="none")
    return Producing(sandbox, Catalog(registry=REGISTRY, producers={"p": plugin}), {})


async def test_a_producer_that_says_it_was_cancelled_has_failed() -> None:
    given = await producing_of(Cancels(SayParameters())).ask("p")
    assert (given.error, given.items) == ("it was cancelled by itself", ())


async def test_a_producer_that_is_cancelled_is() -> None:
    asking = asyncio.create_task(producing_of(Say(SayParameters(gate="g"))).ask("p"))
    await wait_until(lambda: Say.asked == ["p"])
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()


async def test_the_time_that_writing_takes_does_not_count() -> None:
    written: list[Any] = []

    async def emit(items: Any) -> None:
        await asyncio.sleep(2.0)  # the broker is away for longer than the limit
        written.extend(items)

    items = ({"content": "a"}, {"content": "b"})
    given = await producing_of(Emits(SayParameters(items=items, limit_s=1.0))).ask("p", Asked(emit=emit))
    assert (given.error, written) == (None, list(items))
    hanging = producing_of(Emits(SayParameters(items=items, limit_s=1.0, gate="never")))
    assert "within 1 s" in ((await hanging.ask("p", Asked(emit=emit))).error or "")
