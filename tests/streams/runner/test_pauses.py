"""Producers that a person paused: their runs are held, lost by nobody, and done once they go on."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier.run import Run
from notifier.settings import Settings
from notifier.status import PRODUCER_PAUSE, Status
from streams.runner.pauses import MOST_HELD, Pauses
from streams.runner.work import OVERTAKEN
from streams.writer import Writer
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.runner_rig import Say, define, end_of, messages, running, says, state_of, tick, ticks, want

TIMES = ("2026-11-23T09:00:00Z", "2026-11-23T09:10:00Z")


@pytest.mark.parametrize("missed", ["last", "all"])
async def test_a_run_is_held_over_a_restart_and_done_once_the_producer_goes_on(settings: Settings, missed: str) -> None:
    schedule = {"cron": "*/10 * * * *", "missed": missed}
    await define(
        settings,
        producer={"p": says({"content": "a"}), "free": says({"content": "b"})},
        configuration={"c": {"producers": ["p", "free"], "schedule": schedule}},
    )
    await want(settings, "p", "paused")
    first, second = await ticks(settings, *[tick(at=at) for at in TIMES])
    async with running(settings) as (runner,):
        await runner.accept([first])
        await state_of(settings, f"c/{TIMES[0]}", lambda run: any(part.state == "done" for part in run.producers))
        assert (Say.asked, runner.busy) == (["free"], 1)
    async with running(settings) as (runner,):  # to which the run was handed over
        await runner.accept([first, second])
        if missed == "last":
            (part, _) = (await end_of(settings, f"c/{TIMES[0]}")).producers
            assert (part.state, part.error) == ("refused", OVERTAKEN)
        await wait_until(lambda: Say.asked.count("free") == 2)
        assert "p" not in Say.asked
        await want(settings, "p", "resumed")
        ended = [await end_of(settings, f"c/{at}") for at in TIMES]
    assert [run.state for run in ended] == ["done", "done"]
    told = [one["id"] for one in await messages(settings) if one["producer"] == "p"]
    assert told == [f"c/{at}/p/1" for at in (TIMES[1:] if missed == "last" else TIMES)]


async def test_a_run_that_waited_for_its_turn_when_the_pause_came_is_held_too(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"}, gate="g")}, configuration={"c": {"producers": ["p"]}})
    first, second = await ticks(settings, *[tick(at=at) for at in TIMES])
    async with running(settings) as (runner,):
        await runner.accept([first])
        await wait_until(lambda: Say.asked == ["p"])
        await runner.accept([second])
        await wait_until(lambda: runner._told.turns.waiting == 1)
        await want(settings, "p", "paused")
        await wait_until(lambda: runner._pauses.is_paused("p"))
        Say.gates["g"].set()
        assert (await end_of(settings, f"c/{TIMES[0]}")).state == "done"  # it was asked already
        await wait_until(lambda: runner._pauses.held == 1)
        assert Say.asked == ["p"]
        await want(settings, "p", "resumed")
        assert (await end_of(settings, f"c/{TIMES[1]}")).state == "done"
    assert Say.asked == ["p", "p"]


async def test_a_run_that_was_held_while_its_configuration_was_disabled_asks_nobody(settings: Settings) -> None:
    await define(settings, producer={"p": says(counts=True)}, configuration={"c": {"producers": ["p"]}})
    await want(settings, "p", "paused")
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick(at=TIMES[0])))
        await wait_until(lambda: runner._pauses.held == 1)
        await define(settings, configuration={"c": {"producers": ["p"], "enabled": False}})
        await wait_until(lambda: not runner._definitions.catalog.configurations["c"].spec.enabled)
        await want(settings, "p", "resumed")
        (part,) = (await end_of(settings, f"c/{TIMES[0]}")).producers
    assert (part.state, part.error) == ("refused", "the configuration is disabled")
    assert Say.asked == []  # else what it told would count as told


def run_at(minute: int) -> Run:
    return Run(configuration="c", scheduled_at=datetime(2026, 11, 23, tzinfo=UTC) + timedelta(minutes=minute))


def paused(name: str, state: Any = "paused") -> tuple[str, bytes]:
    status = Status(kind=PRODUCER_PAUSE, name=name, state=state, at=datetime.now(UTC))
    return f"{PRODUCER_PAUSE}/{name}", status.encode()


@pytest.fixture
def pauses() -> Pauses:
    from notifier.settings import load_settings

    settings = load_settings(env_file=None)
    return Pauses(settings, Writer(settings))


async def test_nobody_is_asked_before_it_is_known_who_is_paused(pauses: Pauses) -> None:
    waiting = [asyncio.create_task(pauses.admit(str(n), run_at(n), "p", every=False)) for n in (1, 2)]
    await asyncio.sleep(0)
    assert pauses.held == 2
    pauses.loaded.set()
    pauses.take(*paused("other"))
    pauses._tell()
    assert await asyncio.gather(*waiting) == ["go", "go"]
    assert pauses.held == 0


async def test_of_many_runs_that_wait_only_so_many_are_held(pauses: Pauses) -> None:
    pauses.loaded.set()
    pauses.take(*paused("p"))
    waiting = [asyncio.create_task(pauses.admit(str(n), run_at(n), "p", every=True)) for n in range(MOST_HELD + 1)]
    assert await waiting[0] == "overtaken"
    pauses.take(*paused("p", "resumed"))
    pauses._tell()
    assert set(await asyncio.gather(*waiting[1:])) == {"go"}


async def test_a_runner_that_stops_lets_go(pauses: Pauses) -> None:
    pauses.loaded.set()
    pauses.take(*paused("p"))
    waiting = asyncio.create_task(pauses.admit("1", run_at(1), "p", every=False))
    await asyncio.sleep(0)
    pauses.stop()
    assert await waiting == "stopping"


async def test_what_nobody_could_have_written_changes_nothing(pauses: Pauses) -> None:
    pauses.loaded.set()
    key, value = paused("p")
    other = Status(kind="producer", name="p", state="failing", at=datetime.now(UTC)).encode()
    for odd in (
        (key, b"[]"),
        (key, other),
        ("producer/p", value),
        (f"{key}\ud800".encode(errors="replace").decode(), value),
    ):
        pauses.take(*odd)
    assert not pauses.is_paused("p")


async def test_the_pause_of_a_producer_that_was_deleted_is_forgotten(settings: Settings) -> None:
    await define(settings, producer={"p": says()})
    async with running(settings) as (runner,):
        await want(settings, "p", "paused")
        await wait_until(lambda: runner._pauses.is_paused("p"))
        await define(settings, producer={"p": None})
        await wait_until(lambda: not runner._pauses.is_paused("p"))
    assert [record.value for record in await read_all(settings, "status")][-1] is None
