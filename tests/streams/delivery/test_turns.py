"""Turns: who comes first, and that a cancelled one loses none."""

import asyncio

from streams.delivery.turns import Turns


async def test_critical_ones_come_first_and_every_fourth_is_an_other() -> None:
    turns = Turns(1)
    order: list[str] = []

    async def take(name: str) -> None:
        async with turns.turn(name.startswith("c")):
            order.append(name)
            await asyncio.sleep(0)

    async with turns.turn(False):
        waiting = [asyncio.create_task(take(name)) for name in ("o1", "o2", "c1", "c2", "c3", "c4")]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == ["c1", "c2", "c3", "o1", "c4", "o2"]


async def test_no_turn_is_lost_with_who_is_cancelled() -> None:
    turns = Turns(1)

    async def take() -> None:
        async with turns.turn(False):
            pass

    async with turns.turn(False):
        waiting = [asyncio.create_task(take()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()  # its turn has come in this moment
    await asyncio.gather(*waiting, return_exceptions=True)
    async with asyncio.timeout(5), turns.turn(False):
        pass
