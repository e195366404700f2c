"""Producers that follow their source: what they give becomes messages, and no end of one touches another or the runner."""

import asyncio
from typing import Any

import pytest

from notifier.errors import InvalidRecord
from notifier.settings import Settings
from notifier.status import PRODUCER, Status
from streams.runner import following
from streams.runner.produced import read_followed
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until
from tests.rigs.runner_rig import Tail, dead_letters, define, messages, running, tails, want


async def put(name: str, *items: Any) -> None:
    """Has a follower give the items; returns when all are acknowledged."""
    queue = Tail.queues.setdefault(name, asyncio.Queue())
    for item in items:
        queue.put_nowait(item)
    async with asyncio.timeout(120):
        await queue.join()


async def test_what_a_source_gives_becomes_messages_and_dead_letters(settings: Settings) -> None:
    await define(settings, producer={"tail": tails({"id": "t-0-1", "content": "a", "receiver": "al"})})
    async with running(settings):
        junk = InvalidRecord("is no JSON", b"\xff\0", "t-0-2")
        forged = {"id": "t-0-3", "content": "b", "producer": "other", "configuration": "c", "extra": [1]}
        await put("tail", junk, forged, {"content": "no id"}, "odd", {"id": "t-0-4", "content": "c" * 900_000})
        found = {str(one["id"]): one for one in await messages(settings)}
        letters = await dead_letters(settings, 4)
    assert found == {
        "t-0-1": {"id": "t-0-1", "producer": "tail", "content": "a", "receiver": "al"},
        "t-0-3": {"id": "t-0-3", "producer": "tail", "content": "b", "extra": [1]},
    }
    by_id = {str(one["id"]): one for one in letters}
    assert {(one["stage"], one["producer"]) for one in letters} == {("run", "tail")}
    assert by_id["tail/t-0-2"]["error"] == "producer tail: is no JSON"
    assert by_id["tail/t-0-2"]["value_base64"] == "/wA="
    assert by_id["tail/t-0-4"]["reason"] == "too_large"
    assert len({one["id"] for one in letters}) == 4
    assert ["has no `id`" in str(one["error"]) for one in letters].count(True) == 1


async def test_one_that_fails_is_tried_again_and_touches_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BACK_OFF_S", (0.01,))
    await define(
        settings,
        producer={
            "broken": tails({"id": "1", "content": "a"}, error="no answer from CANARY", token="CANARY"),
            "ends": tails(gate="at once"),
            "well": tails(),
        },
    )
    async with running(settings) as (runner,):
        await wait_until(lambda: Tail.began.count("broken") > 2 and Tail.began.count("ends") > 2)
        await put("well", {"id": "1", "content": "b"})
        assert runner.failed is None
        assert Tail.began.count("well") == 1
        assert {one["producer"] for one in await messages(settings)} == {"broken", "well"}


async def test_a_source_that_fails_says_so_on_status(settings: Settings) -> None:
    broken = {"items": [], "error": "no answer from CANARY", "token": "CANARY"}
    await define(settings, producer={"broken": {"type": "tail", "parameters": broken}, "well": tails()})

    async def said() -> dict[str, str | None]:
        records = [record for record in await read_all(settings, "status") if record.value]
        found = [status for record in records if (status := Status.decode(record.value)).kind == PRODUCER]
        return {f"{status.name} {status.state}": status.detail for status in found}

    async with running(settings):
        await put("well", {"id": "1", "content": "b"})
        await wait_until(said)
        assert await said() == {"broken failing": "RuntimeError: no answer from ***"}
        await define(settings, producer={"broken": tails({"id": "1", "content": "a"})})

        async def is_well() -> bool:
            return "broken ready" in await said()

        await wait_until(is_well)


async def test_a_definition_that_is_changed_deleted_or_paused_ends_its_follower(settings: Settings) -> None:
    await define(settings, producer={"tail": tails(), "other": tails()})
    await want(settings, "held", "paused")
    async with running(settings):
        await wait_until(lambda: sorted(Tail.began) == ["other", "tail"])
        await define(settings, producer={"tail": tails({"id": "2", "content": "changed"})})
        await wait_for_records(settings, "messages", 1)
        assert Tail.ended == ["tail"]
        await define(settings, producer={"tail": None, "held": tails({"id": "3", "content": "held"})})
        await wait_until(lambda: Tail.ended == ["tail", "tail"])
        await want(settings, "other", "paused")
        await wait_until(lambda: Tail.ended[2:] == ["other"])
        assert "held" not in Tail.began
        await want(settings, "held", "resumed")
        await wait_for_records(settings, "messages", 2)
        await want(settings, "other", "resumed")
        await put("other", {"id": "4", "content": "goes on"})
    assert sorted(Tail.ended[3:]) == ["held", "other"]
    assert [one["id"] for one in await messages(settings)] == ["2", "3", "4"]


def test_ids_are_the_sources_own_and_one_without_stands_for_no_other() -> None:
    first, second = (read_followed([{"content": "x"}], "p")[0] for _ in range(2))
    assert first.id != second.id
    (good,) = read_followed([{"content": "x", "id": "t-0-1"}], "p")
    assert (good.id, good.error) == ("t-0-1", None)
