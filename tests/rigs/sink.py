"""Sink: a consumer for tests that does as it is told and writes down what it was given; and a worker that has it.

`python -m tests.rigs.sink` runs a delivery worker with the settings of the environment, to be killed; `… sink router` a router.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from filters import BUILT_IN as FILTERS
from notifier import Consumer, ConsumerParameters, Context, Delivery, Limit, Permanent, Result, Retryable
from notifier.registry import Registry
from notifier.role import run_role
from notifier.settings import load_settings
from producers.push import Push
from streams.app import run_roles
from streams.delivery.worker import run_delivery_process


class SinkParameters(ConsumerParameters):
    """What a sink does. `plan` maps a message's content to its answers, try by try; the last one holds for all later tries."""

    path: Path
    plan: dict[str, list[str]] = Field(default_factory=dict)
    otherwise: str = "accept"
    fixed: bool = False
    size: int = 1
    timeout_s: float = 30.0
    script: str | None = None  # that it is said to run
    credential: str | None = None
    rates: list[tuple[int, float]] = Field(default_factory=list)  # count and seconds of the limits of the credential
    lane_rates: list[tuple[int, float]] = Field(default_factory=list)  # the same, of each address


class Sink(Consumer[SinkParameters]):
    """Appends each delivery to a file as a line `{"id", "content", "attempt", "address", "at", "pid", "answer"}`."""

    type = "sink"
    Parameters = SinkParameters
    closed = 0

    def batch(self) -> int:
        return self.parameters.size

    def timeout_s(self) -> float:
        return self.parameters.timeout_s

    def fixed_address(self) -> bool:
        return self.parameters.fixed

    def credential(self) -> str | None:
        return self.parameters.credential

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        limits = [Limit(count=count, seconds=seconds) for count, seconds in self.parameters.rates]
        address = delivery.address or delivery.lane
        return limits + [Limit(count=count, seconds=s, of=address) for count, s in self.parameters.lane_rates]

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        return [await self._deliver(delivery) for delivery in deliveries]

    async def _deliver(self, delivery: Delivery) -> Result:
        content = delivery.read_message().content
        answers = self.parameters.plan.get(content, [self.parameters.otherwise])
        answer, _, argument = answers[min(delivery.attempt, len(answers)) - 1].partition(" ")
        if answer == "slow":
            await asyncio.sleep(float(argument))
        elif answer == "gate":  # until the test makes the file; then it does as the argument says
            self.parameters.path.with_suffix(".shut").touch()
            while not self.parameters.path.with_suffix(".open").exists():
                await asyncio.sleep(0.05)
            answer = argument or answer
        self._write(delivery, content, answer)
        if answer == "hang":
            await asyncio.sleep(3600)
        elif answer == "fail":
            raise Retryable("server_error", "the service answered 500")
        elif answer == "limit":
            raise Retryable("rate_limited", "the service answered 429", float(argument) if argument else None)
        elif answer == "refuse":
            raise Permanent("forbidden", "the service answered 403")
        elif answer == "unauthorized":
            raise Permanent("unauthorized", "the service answered 401")
        elif answer == "crash":
            raise ZeroDivisionError("a bug in a plugin")
        elif answer == "unknown":
            return Result(outcome="unknown", reason="connection", detail="the connection broke")
        elif answer == "answer":
            return Result(outcome="deferred", reason="connection", detail="said so")
        return Result()

    def _write(self, delivery: Delivery, content: str, answer: str) -> None:
        line = {
            "id": delivery.id,
            "content": content,
            "attempt": delivery.attempt,
            "address": delivery.address,
            "at": time.time(),
            "pid": os.getpid(),
            "answer": answer,
        }
        with self.parameters.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    async def close(self) -> None:
        type(self).closed += 1


REGISTRY = Registry([Push, *FILTERS, Sink])


def main() -> int:
    """The process."""
    settings = load_settings(env_file=None)
    if "router" in sys.argv:
        return run_role(settings, "router", lambda stop: run_roles(settings, ["router"], stop, REGISTRY))
    return run_delivery_process(settings, REGISTRY)


if __name__ == "__main__":
    sys.exit(main())
