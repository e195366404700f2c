"""What a producer has told stands on `cursors`: each run goes on from there, also after a kill, and junk costs itself."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from notifier.cursor import MAX_STATE_BYTES
from notifier.kafka import kafka_producer
from notifier.record import now
from notifier.run import ProducerRun
from notifier.settings import Settings
from tests.rigs.kafka_tools import create_topic, produce, read_all, wait_until
from tests.rigs.runner_rig import (
    AT,
    ID,
    Say,
    a_run,
    abandon,
    define,
    end_of,
    messages,
    running,
    says,
    tick,
    ticks,
    write_run,
)

_EARLY = datetime(2026, 11, 23, 8, tzinfo=UTC)
_TIMES = [f"2026-11-23T09:0{minute}:00Z" for minute in range(4)]


async def _cursors(settings: Settings) -> dict[str, Any]:
    """The newest values by key."""
    found = await read_all(settings, "cursors")
    return {record.key.decode(): record.value and json.loads(record.value) for record in found}


def _cursor(state: Any, producer: str = "p", **more: Any) -> dict[str, Any]:
    return {"configuration": "c", "producer": producer, "state": state, "at": "2026-11-23T08:00:00Z", **more}


async def _write(settings: Settings, value: dict[str, Any], *headers: tuple[str, bytes]) -> None:
    await create_topic(settings, "cursors")
    key = f"{value['configuration']}/{value['producer']}"
    async with kafka_producer(settings) as kafka:
        await kafka.send_and_wait(
            settings.topic_prefix + "cursors", json.dumps(value).encode(), key=key.encode(), headers=list(headers)
        )


async def test_each_run_is_asked_with_what_the_one_before_kept_also_by_another_runner(settings: Settings) -> None:
    await define(
        settings,
        producer={"p": says(counts=True), "forgets": says({"content": "a"})},
        configuration={"c": {"producers": ["p", "forgets"]}, "d": {"producers": ["p"]}},
    )
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, *[tick(at=at) for at in _TIMES[:2]], tick("d")))
        for id_ in (f"c/{_TIMES[0]}", f"c/{_TIMES[1]}", f"d/{AT}"):
            assert (await end_of(settings, id_)).state == "done"
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick(at=_TIMES[2])))
        await end_of(settings, f"c/{_TIMES[2]}")
    counted = sorted(message["id"] for message in await messages(settings) if message["producer"] == "p")
    assert counted == [f"c/{at}/p/count-{number}" for number, at in enumerate(_TIMES[:3], 1)] + [f"d/{AT}/p/count-1"]
    assert {key: value["state"] for key, value in (await _cursors(settings)).items()} == {
        "c/p": {"count": 3},
        "d/p": {"count": 1},
    }


async def test_runs_of_one_configuration_on_several_runners_ask_one_after_another(settings: Settings) -> None:
    await define(
        settings,
        producer={"p": says(counts=True, gate="g"), "other": says({"content": "a"})},
        configuration={"c": {"producers": ["p", "other"]}},
    )
    async with running(settings, 2, lease_s=600.0) as runners:
        batch = await ticks(settings, *[tick(at=at) for at in _TIMES])
        for number, record in enumerate(batch):
            await runners[number % 2].accept([record])
            await wait_until(lambda number=number: Say.asked.count("other") == number + 1)  # type: ignore[misc]
        assert Say.asked.count("p") == 1
        Say.gates["g"].set()
        for at in _TIMES:
            await end_of(settings, f"c/{at}")
    assert Say.cursors.count(None) == 1 + len(_TIMES)  # of `other`, and the first one of `p`
    told = sorted(message["content"] for message in await messages(settings) if message["producer"] == "p")
    assert told == ["1", "2", "3", "4"]
    assert (await _cursors(settings))["c/p"]["state"] == {"count": len(_TIMES)}


async def test_a_run_that_waits_for_one_left_behind_leaves_room_to_take_that_over(settings: Settings) -> None:
    await define(settings, producer={"p": says(counts=True)}, configuration={"c": {"producers": ["p"]}})
    async with running(settings, concurrency=1) as (runner,):
        await abandon(settings, started_at=_EARLY)
        await runner.accept(await ticks(settings, tick(at=_TIMES[1])))
        assert (await end_of(settings, f"c/{_TIMES[1]}")).state == "done"
        assert (await end_of(settings)).state == "done"
    assert Say.cursors == [None, {"count": 1}]


async def test_a_run_that_no_runner_wrote_is_not_waited_for(settings: Settings) -> None:
    await define(settings, producer={"p": says(counts=True)}, configuration={"c": {"producers": ["p"]}})
    forged = a_run(owner="ghost", lease_until=datetime(9000, 1, 1, tzinfo=UTC), started_at=_EARLY)
    await write_run(settings, forged, "ghost", b"")
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick(at=_TIMES[1])))
        assert (await end_of(settings, f"c/{_TIMES[1]}")).state == "done"


async def test_a_run_that_is_taken_over_asks_again_with_the_old_cursor_and_makes_the_same_ids(
    settings: Settings,
) -> None:
    await define(settings, producer={"p": says(counts=True)}, configuration={"c": {"producers": ["p"]}})
    await _write(settings, _cursor({"count": 4}), ("run", b"c/2026-11-23T08:00:00Z"))
    await abandon(settings)  # whose runner may have written its messages, and certainly no cursor
    async with running(settings):
        assert (await end_of(settings)).state == "done"
    assert Say.cursors == [{"count": 4}]
    assert [message["id"] for message in await messages(settings)] == [f"{ID}/p/count-5"]


async def test_a_part_whose_cursor_is_written_already_is_not_asked_again(settings: Settings) -> None:
    await define(settings, producer={"p": says(counts=True)}, configuration={"c": {"producers": ["p"]}})
    part = ProducerRun(producer="p", state="done", messages=3, started_at=now(), ended_at=now())
    await _write(settings, _cursor({"count": 4}), ("run", ID.encode()), ("part", msgspec.json.encode(part)))
    await abandon(settings)
    async with running(settings):
        run = await end_of(settings)
    assert (run.state, run.producers) == ("done", (part,))
    assert Say.asked == []


async def test_what_a_producer_kept_before_it_failed_is_not_kept(settings: Settings) -> None:
    await define(settings, producer={"p": says(counts=True, error="broken")}, configuration={"c": {"producers": ["p"]}})
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        assert (await end_of(settings)).state == "failed"
    assert await _cursors(settings) == {}


@pytest.mark.parametrize(
    ("state", "error"),
    [
        pytest.param({"text": "x" * MAX_STATE_BYTES}, "900011 bytes of JSON, and may be 900000", id="too large"),
        pytest.param(["a"], "must be an object", id="a list"),
        pytest.param({"a": object()}, "type object is unsupported", id="no JSON"),
        pytest.param({"a": "\ud800"}, "surrogates not allowed", id="lone surrogate"),
    ],
)
async def test_a_state_that_cannot_be_kept_fails_the_part_and_its_messages_stay(
    settings: Settings, state: Any, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Say, "keeps", state)
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        run = await end_of(settings)
    assert run.state == "failed"
    assert error in (run.producers[0].error or "")
    assert run.producers[0].messages == len(await messages(settings)) == 1
    assert await _cursors(settings) == {}


async def test_the_cursors_of_what_is_deleted_are_forgotten(settings: Settings) -> None:
    await define(
        settings,
        producer={"p": says(counts=True), "q": says(counts=True), "broken": {"type": "nothing-knows-it"}},
        configuration={"c": {"producers": ["p", "q"]}, "d": {"producers": ["p"]}},
    )
    for producer in ("gone", "broken"):  # what was deleted while no runner ran; what is there and cannot be used
        await _write(settings, _cursor({}, producer))

    async def are(*keys: str) -> None:
        async def same() -> bool:
            return {key for key, value in (await _cursors(settings)).items() if value} == set(keys)

        await wait_until(same)

    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick(), tick("d")))
        await are("c/p", "c/q", "d/p", "c/broken")
        await define(settings, producer={"q": None})
        await are("c/p", "d/p", "c/broken")
        await define(settings, configuration={"c": None})
        await are("d/p")
        await define(settings, producer={"p": {"type": "answers"}})
        await are()


async def test_junk_costs_itself_and_a_newer_version_its_producer(settings: Settings) -> None:
    await define(
        settings,
        producer={"p": says(counts=True), "q": says(counts=True)},
        configuration={"c": {"producers": ["p", "q"]}},
    )
    await _write(settings, _cursor({"count": 7}))
    for junk in ("no JSON", {"configuration": 5}, _cursor({"count": 1}, "q"), {**_cursor(5), "state": 5}):
        await produce(settings, "cursors", [junk], key="c/p")
    await _write(settings, _cursor({"count": 1}, "q", v=2))
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        run = await end_of(settings)
        assert runner.failed is None
    assert Say.cursors == [{"count": 7}]
    parts = {part.producer: (part.state, part.error or "") for part in run.producers}
    assert parts["p"] == ("done", "")
    assert parts["q"][0] == "failed"
    assert "version 2 of Cursor is not known here" in parts["q"][1]


async def test_an_open_transaction_and_the_end_of_one_hold_up_no_run(settings: Settings) -> None:
    await define(settings, producer={"p": says(counts=True)}, configuration={"c": {"producers": ["p"]}})
    await create_topic(settings, "cursors")
    async with running(settings) as (runner,):
        for name in ("ended", "open"):
            kafka = kafka_producer(settings, transactional_id=settings.topic_prefix + name)
            await kafka.start()
            await kafka.begin_transaction()
            await kafka.send_and_wait(settings.topic_prefix + "cursors", b"junk", key=b"c/p")
            if name == "ended":
                await kafka.abort_transaction()
                await kafka.stop()
        try:
            for at in _TIMES[:2]:
                await runner.accept(await ticks(settings, tick(at=at)))
                assert (await end_of(settings, f"c/{at}")).state == "done"
        finally:
            await kafka.abort_transaction()
            await kafka.stop()
    assert Say.cursors == [None, {"count": 1}]
