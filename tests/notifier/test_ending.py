"""Ending tasks that lose a cancellation."""

import asyncio

import pytest

from notifier import ending
from notifier.ending import end


async def test_a_task_that_loses_its_cancellation_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_S", 0.01)
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost == 3:
                    raise
                lost += 1

    async def fails() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("as it ends")

    async def nothing() -> None:
        return

    tasks = [asyncio.create_task(one()) for one in (work, fails, nothing)]
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await end(*tasks)
    assert lost == 3
    assert all(task.done() for task in tasks)
    await end(*tasks)
    await end()
