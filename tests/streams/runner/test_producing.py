"""Asking producers, without a run: what one does fails it alone."""

import asyncio
from typing import Any

from notifier.catalog import Catalog
from notifier.sandbox import Level, Sandbox
from streams.runner.producing import Producing
from tests.rigs.kafka_tools import wait_until
from tests.rigs.runner_rig import REGISTRY, Say, SayParameters


class Cancels(Say):
    """Says that it was cancelled, where nobody did so."""

    async def produce(self, context: Any) -> Any:
        raise asyncio.CancelledError


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
