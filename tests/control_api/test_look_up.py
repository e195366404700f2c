"""LookUp: what is kept, for how long, and a query that hangs."""

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


async def test_what_is_found_is_kept_until_it_is_forgotten_and_what_is_not_found_is_not() -> None:
    queries: list[list[int]] = []

    async def fetch(keys: list[int]) -> dict[int, int]:
        queries.append(keys)
        return {key: key * 10 for key in keys if key != 7}

    look_up = LookUp(fetch, kept_s=3600.0)
    assert await look_up.get(1) == 10
    assert await look_up.get_many([1, 2, 7]) == {1: 10, 2: 20}
    assert await look_up.get_many([1, 2]) == {1: 10, 2: 20}
    assert await look_up.get(7) is None
    assert queries == [[1], [2, 7], [7]]
    look_up.forget()
    assert await look_up.get(1) == 10
    assert queries == [[1], [2, 7], [7], [1]]


async def test_an_answer_that_may_be_older_than_a_change_is_not_kept() -> None:
    values = {1: "before"}
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def fetch(keys: list[int]) -> dict[int, str]:
        found = {key: values[key] for key in keys}
        asked.set()
        await go_on.wait()
        return found

    look_up = LookUp(fetch, kept_s=3600.0)
    early = asyncio.create_task(look_up.get(1))
    await asked.wait()
    values[1] = "after"
    look_up.forget()
    go_on.set()
    assert await early == "before"  # which was asked before the change
    assert await look_up.get(1) == "after"


async def test_a_value_whose_time_is_over_is_asked_for_again() -> None:
    queries: list[list[int]] = []

    async def fetch(keys: list[int]) -> dict[int, int]:
        queries.append(keys)
        return {key: key * 10 for key in keys}

    look_up = LookUp(fetch, kept_s=0.0)
    assert [await look_up.get(1), await look_up.get(1)] == [10, 10]
    assert queries == [[1], [1]]
