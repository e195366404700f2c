"""LookUp: a query that hangs."""

import asyncio

import pytest

from control_api.look_up import LookUp
from notifier.errors import DatabaseError


async def test_a_query_that_never_answers_holds_up_nobody_who_asks_later() -> None:
    queries: list[list[int]] = []
    go_on = asyncio.Event()

    async def fetch(keys: list[int]) -> dict[int, int]:
        queries.append(keys)
        if len(queries) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                await go_on.wait()  # a connection that hangs cannot be closed in order either
        return {key: key * 10 for key in keys}

    look_up = LookUp(fetch, limit_s=0.05)
    first = asyncio.create_task(look_up.get(1))
    await asyncio.sleep(0)
    later = asyncio.create_task(look_up.get(2))
    with pytest.raises(DatabaseError, match="did not answer within"):
        await first
    assert await later == 20
    assert await look_up.get(1) == 10
    assert queries == [[1], [2], [1]]
    go_on.set()
