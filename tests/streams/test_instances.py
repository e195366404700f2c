"""Instances of plugins: lent for calls, replaced as definitions change, and closed once."""

import asyncio
from collections.abc import Sequence

import pytest

from notifier.delivery import Delivery
from notifier.plugin import Consumer, ConsumerParameters, Context, Result
from streams.instances import Instances


class Closing(Consumer[ConsumerParameters]):
    """Counts how often it was closed; `fault` makes that fail."""

    type = "closing"
    Parameters = ConsumerParameters

    def __init__(self, fault: bool = False) -> None:
        super().__init__(ConsumerParameters())
        self.fault = fault
        self.closed = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Closing)

    __hash__ = None  # type: ignore[assignment]  # a plugin may have its own equality

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed += 1
        if self.fault:
            raise OSError("no connection to close")


async def test_a_replaced_instance_is_closed_once_and_a_kept_one_is_not() -> None:
    old, kept, new = Closing(), Closing(), Closing()
    instances: Instances[Closing] = Instances()
    instances.replace({"a": old, "b": kept})
    instances.replace({"a": new, "b": kept})
    await asyncio.sleep(0)
    assert instances.get("a") is new
    assert (old.closed, kept.closed, new.closed) == (1, 0, 0)
    await instances.close()
    assert (old.closed, kept.closed, new.closed) == (1, 1, 1)


async def test_an_instance_is_not_closed_under_a_call() -> None:
    old, new = Closing(), Closing()
    instances: Instances[Closing] = Instances()
    instances.replace({"a": old})
    with instances.use("a") as first, instances.use("a"):
        assert first is old
        instances.replace({"a": new})
        with instances.use("a") as second:
            assert second is new
        await asyncio.sleep(0)
        assert old.closed == 0
    await asyncio.sleep(0)
    assert (old.closed, new.closed) == (1, 0)


async def test_a_name_without_an_instance_lends_none() -> None:
    instances: Instances[Closing] = Instances()
    with instances.use("a") as none:
        assert none is None


async def test_a_fault_while_closing_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    faulty, other = Closing(fault=True), Closing()
    instances: Instances[Closing] = Instances()
    instances.replace({"a": faulty, "b": other})
    await instances.close()
    assert other.closed == 1
    assert "A consumer of type closing did not close." in caplog.text
