"""What runners say of the sources of producers, and that a source that hangs holds up no other."""

import asyncio
import json
from typing import Any, cast

import pytest

from notifier.catalog import Catalog
from notifier.record import now
from notifier.registry import Registry
from notifier.settings import Settings
from notifier.status import Status
from streams.runner.slots import Slots
from streams.runner.source_states import Answered, SourceStates, following
from streams.writer import Writer
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.runner_rig import Say, define, end_of, running, says, tick, ticks

FAILED = Answered(error="the service answers 503")
WELL = Answered(error=None)


def said(state: Any, **fields: Any) -> Status:
    return Status(**{"kind": "producer", "name": "p", "state": state, "at": now(), **fields})


def test_only_changes_are_said_of_a_source() -> None:
    assert following("p", None, WELL) is None
    first = following("p", None, FAILED)
    assert first is not None
    assert (first.kind, first.name, first.state, first.detail) == ("producer", "p", "failing", FAILED.error)
    assert first.since == first.at
    assert following("p", first, FAILED) is None
    other = following("p", first, Answered(error="it hangs\nnow"))
    assert other is not None
    assert (other.state, other.detail, other.since) == ("failing", "it hangs now", first.since)
    back = following("p", other, WELL)
    assert back is not None
    assert (back.state, back.detail, back.since) == ("ready", None, None)
    assert following("p", back, WELL) is None


def test_a_notice_stands_until_an_answer_without_it() -> None:
    renamed = Answered(error=None, notice="the repository is called new/name now")
    first = following("p", None, renamed)
    assert first is not None
    assert (first.state, first.detail) == ("ready", renamed.notice)
    assert following("p", first, renamed) is None
    gone = following("p", first, WELL)
    assert gone is not None
    assert (gone.state, gone.detail) == ("ready", None)


@pytest.mark.parametrize("answered", [WELL, FAILED, Answered(error=None, notice="x")])
def test_what_a_person_paused_stays_paused(answered: Answered) -> None:
    assert following("p", said("paused"), answered) is None


def test_an_empty_answer_ends_no_silence_and_a_failure_explains_it() -> None:
    assert following("p", said("silent"), WELL) is None
    failing = following("p", said("silent"), FAILED)
    assert failing is not None
    assert failing.state == "failing"


async def test_what_is_slow_leaves_its_slot_to_others() -> None:
    slots = Slots(1, patience_s=0.01)
    never = asyncio.Event()

    async def hang() -> None:
        async with slots.one(slow=False):
            await never.wait()

    hanging = [asyncio.create_task(hang())]
    async with asyncio.timeout(30), slots.one(slow=False):
        pass
    async with asyncio.timeout(30), slots.one(slow=False):  # the second one too
        hanging.append(asyncio.create_task(hang()))
    failing = asyncio.create_task(slots.one(slow=True).__aenter__())
    await asyncio.sleep(0.05)
    assert not failing.done()  # what is slow waits for what is slow
    failing.cancel()
    for task in hanging:
        task.cancel()
    await asyncio.gather(failing, *hanging, return_exceptions=True)
    async with asyncio.timeout(30), slots.one(slow=False), slots.one(slow=True):
        pass


class OtherRunner:
    """A writer beside which another runner takes the same producers off the topic."""

    def __init__(self) -> None:
        self.states: SourceStates | None = None
        self.written: list[str | None] = []

    async def write(self, topic: str, key: str | None, value: bytes | None) -> None:
        assert self.states is not None
        self.written.append(key)
        for name in "ab":
            self.states.take(f"producer/{name}", None)


async def test_two_runners_may_forget_the_same_producers_at_once() -> None:
    other = OtherRunner()
    states = other.states = SourceStates(Settings(), cast("Writer", other))
    for name in "ab":
        states.take(f"producer/{name}", said("failing", name=name).encode())
    states._loaded.set()
    states.change(Catalog(registry=Registry(())))
    writing = asyncio.create_task(states.write())
    await wait_until(lambda: len(other.written) == 2 or writing.done())
    assert not writing.done()  # else the runner would not go on
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def of_source(settings: Settings, name: str) -> dict[str, Any] | None:
    """The newest record about the source."""
    records = [record for record in await read_all(settings, "status") if record.key == b"producer/%s" % name.encode()]
    return json.loads(records[-1].value) if records and records[-1].value is not None else None


async def test_a_failing_source_is_said_to_be_and_to_be_back(settings: Settings) -> None:
    hanging = says(gate="never", limit_s=0.3)
    await define(
        settings,
        producer={"bad": says(error="the token s3cret-token is wrong", token="s3cret-token"), "hangs": hanging},
        configuration={"c": {"producers": ["bad", "hangs"]}, "d": {"producers": ["good"]}},
    )
    await define(settings, producer={"good": says({"content": "a"})})
    junk = [b"junk", b"{}", Status(kind="consumer", name="x", state="paused", at=now()).encode()]
    await produce(settings, "status", junk, key="producer/junk")
    async with running(settings, 2, concurrency=1) as (runner, other):
        await runner.accept(await ticks(settings, tick()))
        await runner.accept(await ticks(settings, tick("d", "2026-11-23T09:00:01Z")))
        assert (await end_of(settings, "d/2026-11-23T09:00:01Z")).state == "done"
        assert (await end_of(settings)).state == "failed"

        async def both_fail() -> bool:
            states = [await of_source(settings, name) for name in ("bad", "hangs")]
            return all(state is not None and state["state"] == "failing" for state in states)

        await wait_until(both_fail)
        bad = await of_source(settings, "bad")
        assert bad is not None
        assert "s3cret" not in json.dumps(bad)
        assert bad["detail"] == "RuntimeError: the token *** is wrong"
        assert "gave nothing within 0.3 s" in json.dumps(await of_source(settings, "hangs"))
        assert await of_source(settings, "good") is None
        await wait_until(lambda: other._sources.is_failing("bad"))
        # Asked again by another runner: the same failure is said no second time, and the hanging one answers now.
        Say.gates["never"].set()
        await other.accept(await ticks(settings, tick(at="2026-11-23T09:10:00Z")))
        assert (await end_of(settings, "c/2026-11-23T09:10:00Z")).state == "failed"

        async def is_back() -> bool:
            return (await of_source(settings, "hangs") or {}).get("state") == "ready"

        await wait_until(is_back)
        assert await of_source(settings, "bad") == bad
        await define(settings, producer={"bad": None}, configuration={"c": None})

        async def is_gone() -> bool:
            return await of_source(settings, "bad") is None

        await wait_until(is_gone)
