"""Claims in the database: of many tickers, one has each due time."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import select, update

from notifier.database import Database
from notifier.tick_claims import TICK
from streams.ticker.claims import Claims
from streams.ticker.due import Move
from tests.rigs.ticker_rig import SECOND, cursor

pytest_plugins = ["tests.rigs.databases"]


async def test_of_many_tickers_at_once_one_claims_a_due_time(store: Database) -> None:
    due = datetime(2026, 1, 1, tzinfo=UTC)
    cursors = [cursor(f"c{number}", "* * * * *", due) for number in range(5)]
    tickers = [Claims(store, f"ticker-{number}") for number in range(5)]
    await asyncio.gather(*(ticker.add(cursors) for ticker in tickers))
    moves = [
        Move(old=one, new=cursor(one.configuration, "* * * * *", due + 2 * SECOND), due=[due, due + SECOND])
        for one in cursors
    ]
    claimed = await asyncio.gather(*(ticker.move(moves) for ticker in tickers))
    pairs = [(claim.configuration, claim.due_at) for claims in claimed for claim in claims]
    assert len(pairs) == len(set(pairs)) == 10
    unsent = await tickers[0].unsent()
    taken = await asyncio.gather(*(ticker.take_over(unsent) for ticker in tickers))
    assert sum(map(len, taken)) == 10  # each by one of them
    await tickers[0].mark_sent(unsent)
    assert await tickers[1].unsent() == []
    assert await tickers[1].take_over(unsent) == []
    async with store.write() as session:
        await session.execute(update(TICK).values(sent_at=due))
    await tickers[0].forget(due + SECOND)
    async with store.read() as session:
        assert (await session.execute(select(TICK))).all() == []
