"""The runner on a real broker: a tick is one run, runners share runs by leases, and one that dies is replaced.

Started as a program, it is the runner that a test kills.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta

import pytest

from notifier.errors import UnsupportedVersion
from notifier.kafka import kafka_consumer
from notifier.record import now
from notifier.run import Run
from notifier.settings import Settings
from streams.runner.leases import Leases
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.repository import ROOT
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
    state_of,
    tick,
    ticks,
    write_run,
)


@pytest.mark.predecessor("S-27")
async def test_the_same_tick_is_one_run_in_a_batch_in_two_batches_and_after_a_restart(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    async with running(settings) as (runner,):
        batch = await ticks(settings, tick(), tick(at="2026-11-23T10:00:00+01:00"))
        await asyncio.gather(runner.accept(batch), runner.accept(batch))
        await end_of(settings)
        await runner.accept(batch)
    async with running(settings) as (runner,):
        await runner.accept(batch)
        await runner.accept(await ticks(settings, tick(at="2026-11-23T09:01:00Z")))
        await end_of(settings, "c/2026-11-23T09:01:00Z")
    assert Say.asked == ["p", "p"]  # once for each of two ticks
    assert len(await messages(settings)) == 2


async def test_two_runners_that_get_the_same_tick_run_it_once(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    async with running(settings, 3) as runners:
        batch = await ticks(settings, tick())
        await asyncio.gather(*[runner.accept(batch) for runner in runners])
        await end_of(settings)
    assert Say.asked == ["p"]


async def test_a_redriven_tick_that_was_refused_is_judged_again(settings: Settings) -> None:
    async with running(settings) as (runner,):
        batch = await ticks(settings, tick())
        await runner.accept(batch)
        assert (await end_of(settings)).state == "refused"
        await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
        await wait_until(lambda: runner.busy == 0)
        await runner.accept(batch)
        await state_of(settings, f"c/{AT}", lambda run: run.state == "done")
    assert len(await messages(settings)) == 1


async def test_of_many_runners_one_takes_an_abandoned_run_over(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    await abandon(settings)
    async with running(settings, 4) as runners:
        run = await end_of(settings)
        assert run.owner in {runner.owner for runner in runners}
    assert (run.state, run.takeovers) == ("done", 1)
    assert Say.asked == ["p"]
    assert len(await messages(settings)) == 1


async def test_a_lease_is_renewed_for_as_long_as_the_work_takes(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"}, gate="g")}, configuration={"c": {"producers": ["p"]}})
    lease_s = 3.0
    async with running(settings, 2, lease_s=lease_s) as runners:
        await runners[0].accept(await ticks(settings, tick()))
        first = await state_of(settings, ID, lambda run: bool(run.producers))
        assert first.lease_until is not None
        later = first.lease_until + timedelta(seconds=lease_s)  # so the first lease has passed
        renewed = await state_of(settings, ID, lambda run: run.lease_until is not None and run.lease_until > later)
        Say.gates["g"].set()
        ended = await end_of(settings)
    assert first.owner == renewed.owner == ended.owner == runners[0].owner
    assert Say.asked == ["p"]


async def test_a_runner_whose_run_was_taken_over_stops_working_on_it(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"}, gate="g")}, configuration={"c": {"producers": ["p"]}})
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        await wait_until(lambda: Say.asked == ["p"])
        owner = "rival"
        rival = a_run(owner=owner, lease_until=now() + timedelta(hours=1))

        async def taken() -> bool:  # a renewal may come before the claim, which has then lost
            leases = Leases()
            for record in await read_all(settings, "runs"):
                leases.apply(record)
            await write_run(settings, rival, owner, b"%d" % (leases.replaces(ID) or 0))
            return bool((await state_of(settings, ID, lambda run: True)).owner == owner)

        await wait_until(taken)
        await wait_until(lambda: runner.busy == 0)
        Say.gates["g"].set()
    assert await messages(settings) == []
    assert (await state_of(settings, ID, lambda run: True)).owner == owner


async def test_a_claim_that_came_after_the_end_leaves_the_end_as_the_newest_value(settings: Settings) -> None:
    async with running(settings, lease_s=30.0) as (runner,):
        offset = await abandon(settings)  # no configuration: it is refused... unless it ended before the claim
        await write_run(settings, a_run(state="done", owner="ghost"), "ghost")
        await write_run(settings, a_run(owner=runner.owner), runner.owner, b"%d" % offset)

        async def mended() -> bool:
            newest = max(
                (record for record in await read_all(settings, "runs") if record.key == ID.encode()),
                key=lambda record: record.offset,
            )
            return Run.decode(newest.value).state == "done"

        await wait_until(mended)
        assert runner.busy == 0


async def test_a_stopped_runner_lets_runs_end_and_hands_the_others_over(settings: Settings) -> None:
    await define(
        settings,
        producer={"slow": says({"content": "slow"}, gate="slow"), "stuck": says({"content": "stuck"}, gate="stuck")},
        configuration={"c": {"producers": ["slow"]}, "d": {"producers": ["stuck"]}},
    )
    async with running(settings, lease_s=600.0) as (runner,):
        await runner.accept(await ticks(settings, tick(), tick("d")))
        await wait_until(lambda: sorted(Say.asked) == ["slow", "stuck"])
        stopping = asyncio.create_task(runner.stop(1.0))
        await asyncio.sleep(0)  # let it begin to stop
        Say.gates["slow"].set()
        await stopping
        assert (await end_of(settings)).state == "done"
        handed_over = await state_of(settings, f"d/{AT}", lambda run: run.owner is None)
        assert handed_over.state == "running"
    Say.gates["stuck"].set()
    async with running(settings, lease_s=600.0):  # no lease of that length is waited for
        run = await end_of(settings, f"d/{AT}")
    assert (run.state, run.takeovers) == ("done", 0)
    assert [message["content"] for message in await messages(settings)] == ["slow", "stuck"]


async def test_runs_that_wait_for_a_free_place_are_handed_over_at_once(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"}, gate="g")}, configuration={"c": {"producers": ["p"]}})
    times = [f"2026-11-23T09:0{minute}:00Z" for minute in range(5)]
    async with running(settings, lease_s=600.0, concurrency=1) as (runner,):
        await runner.accept(await ticks(settings, *[tick(at=at) for at in times]))
        await wait_until(lambda: runner.busy == 5)
        await wait_until(lambda: Say.asked == ["p"])
        await runner.stop(0)
    Say.gates["g"].set()
    async with running(settings, lease_s=600.0):
        for at in times:
            assert (await end_of(settings, f"c/{at}")).state == "done"
    assert len(await messages(settings)) == 5


async def test_a_run_on_the_log_that_is_newer_than_this_program_ends_the_runner(settings: Settings) -> None:
    await produce(settings, "runs", [{"v": 2}], key=ID)
    with pytest.raises(UnsupportedVersion):
        async with running(settings):
            pass


async def test_a_record_on_the_log_that_is_no_run_is_passed_over(settings: Settings) -> None:
    await produce(settings, "runs", ["no run", {"configuration": 5}], key="x")
    async with running(settings) as (runner,):
        assert runner.failed is None


async def test_a_run_whose_runner_is_killed_is_done_by_another_with_the_same_ids(settings: Settings) -> None:
    """SIGKILL while a producer still works and another has sent its messages but, for all the log says, may not have."""
    await define(
        settings,
        producer={
            "quick": says({"content": "q"}),
            "slow": says({"content": "a"}, {"id": "7", "content": "b"}, gate="g"),
        },
        configuration={"c": {"producers": ["quick", "slow"]}},
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NOTIFIER_")},
        "NOTIFIER_KAFKA": settings.kafka or "",
        "NOTIFIER_TOPIC_PREFIX": settings.topic_prefix,
        "NOTIFIER_DATA_DIR": str(settings.data_dir),
        "PYTHONPATH": str(ROOT),
    }
    await ticks(settings, tick())
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.streams.runner.test_runner", env=environment
    )
    try:
        begun = await state_of(settings, ID, lambda run: [part.state for part in run.producers] == ["done", "running"])
    finally:
        victim.send_signal(signal.SIGKILL)
        await victim.wait()
    Say.gates["g"] = asyncio.Event()
    Say.gates["g"].set()
    async with running(settings) as (runner,):
        run = await end_of(settings)
        assert run.owner == runner.owner != begun.owner
        # the tick was never committed, so it comes again
        await runner.accept(await read_all(settings, "ticks"))
    assert (run.state, run.takeovers) == ("done", 1)
    assert Say.asked == ["slow"]
    assert sorted(message["id"] for message in await messages(settings)) == [
        f"c/{AT}/quick/1",
        f"c/{AT}/slow/1",
        f"c/{AT}/slow/7",
    ]


async def _run_until_killed() -> None:
    settings = Settings()
    async with running(settings) as (runner,), kafka_consumer(settings, settings.topic_prefix + "ticks") as consumer:
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                await runner.accept(records)


if __name__ == "__main__":  # the runner that is killed
    asyncio.run(_run_until_killed())
