"""Redrives on a real database and broker: each letter once, whoever works, and whenever it dies."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiokafka.errors import MessageSizeTooLargeError
from sqlalchemy import select

from control_api.access.actor import COMMAND_LINE, Actor, Scope
from control_api.models import LeaseRow, RedriveRow
from control_api.page_query import PageQuery
from control_api.redrive import redrives as redrives_module
from control_api.redrive import redriving as redriving_module
from control_api.redrive.batch import GONE, REPEATED, Batch
from control_api.redrive.criteria import RedriveInput
from control_api.redrive.redrives import Redrives
from control_api.redrive.redriving import Redriving
from notifier.dead_letter import DeadLetter, Source
from notifier.delivery import Delivery
from notifier.errors import Conflict, OtherTeam, UnknownName
from notifier.record import now
from notifier.settings import Settings
from tests.rigs.delivery_rig import make
from tests.rigs.kafka_tools import WAIT_S, wait_until
from tests.rigs.redrive_rig import JOB, begin, buried, define, opened, redriven, sent, store, worked
from tests.rigs.repository import ROOT
from tests.rigs.roles import environment

pytest_plugins = ["tests.rigs.databases"]

RUN: frozenset[Scope] = frozenset({"run", "read"})
LETTERS = int(os.environ.get("REDRIVE_LETTERS", "200"))  # of the test that kills; 10,000 take some minutes
KILLS = 2 if LETTERS < 1000 else 6


def letters(settings: Settings, count: int, first: int = 0, **changes: Any) -> list[DeadLetter]:
    return [
        buried(settings, make("x", number=number, lane=f"p{number % 7}", attempt=6, spared=2), **changes)
        for number in range(first, first + count)
    ]


async def test_letters_are_sent_again_as_new_and_once(database_settings: Settings) -> None:
    """With ids kept; over two redrives whose criteria overlap; what is not to be sent again is counted with the reason."""
    settings = database_settings
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        gone = buried(settings, make("x", number=100, consumer="gone"))
        broken = DeadLetter.of_record(
            Source(f"{settings.topic_prefix}deliveries.sink", 0, 9, None, b"k", b"{"),
            stage="deliver", reason="exhausted", error="no",
        )  # fmt: skip
        twice = buried(settings, make("x", number=3, lane="p3"))  # of a worker that died before it had said so
        await store(database, [*letters(settings, 30), gone, broken, twice])
        await store(database, letters(settings, 5, 200, reason="too_large"))
        counted = await redrives.count(COMMAND_LINE, RedriveInput.model_validate({"consumer": ["sink", "gone"]}))
        assert counted == {
            "job": None,
            "matched": 32,
            "reasons": {"exhausted": 32},
            "consumers": {"sink": 31, "gone": 1},
        }
        since = (now() - timedelta(hours=1)).isoformat()
        assert await begin(redrives, JOB + "1", since=since) == {"job": JOB + "1", "matched": 33}
        assert await begin(redrives, JOB + "1", since=since) == {"job": JOB + "1", "matched": 33}  # a repeated request
        assert (await begin(redrives, JOB + "2", reason=["exhausted", "forbidden"]))["matched"] == 33
        first, second = await redriven(redrives, JOB + "1"), await redriven(redrives, JOB + "2")
        assert first["redriven"] + second["redriven"] == 30
        assert {first["state"], second["state"]} == {"done"}
        for done in (first, second):
            assert done["redriven"] + done["skipped"] == done["matched"]
            assert done["started_at"] is not None
            assert done["ended_at"] is not None
        why: Counter[str] = Counter(first["why"]) + Counter(second["why"])
        assert (why[REPEATED], why["the consumer gone is not defined any more"]) == (
            1,
            2,
        )  # asked for by both, sent by none
        assert why.keys() - {REPEATED, GONE, "the consumer gone is not defined any more"} == {
            "its record holds no delivery: not JSON: Input data was truncated"
        }
        values = await sent(settings, "deliveries.sink")
        assert sorted(value["id"] for value in values) == sorted(
            make("x", number=number, lane=f"p{number % 7}").id for number in range(30)
        )
        assert all("spared" not in value and value["attempt"] == 1 and value["redriven_at"] for value in values)
        assert (await begin(redrives, JOB + "3", consumer="sink"))[
            "matched"
        ] == 0  # what is done with is not asked for again
        assert (await redriven(redrives, JOB + "3"))["state"] == "done"
        assert (await begin(redrives, JOB + "4", reason="too_large"))["matched"] == 5  # only asked for by name
        assert (await redriven(redrives, JOB + "4"))["redriven"] == 5
        items, cursor = await redrives.list(COMMAND_LINE, PageQuery(limit=3))
        assert [item["id"][-1] for item in items] == ["4", "3", "2"]
        items, cursor = await redrives.list(COMMAND_LINE, PageQuery(limit=3, cursor=cursor))
        assert ([item["id"][-1] for item in items], cursor) == (["1"], None)


async def test_one_that_kafka_refuses_costs_itself_and_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside letters that are skipped, and whose reason stays."""
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        gone = buried(settings, make("x", number=100, consumer="gone"))
        refused, last = letters(settings, 2)
        await store(database, [gone, refused])
        kafka = redrives.redriving._kafka
        send = kafka.send

        async def choosy(batch: str, records: Any, topics: Any) -> None:
            if any(b"m-x-0" in record.value for record in records):
                raise MessageSizeTooLargeError("too large")
            await send(batch, records, topics)

        monkeypatch.setattr(kafka, "send", choosy)
        await begin(redrives, JOB + "1", reason="exhausted")
        done = await redriven(redrives, JOB + "1")
        assert (done["redriven"], done["skipped"], done["failed"]) == (0, 1, 1)
        assert [sample["id"] for sample in done["samples"]] == [gone.id, refused.id]
        assert GONE not in done["why"]
        await store(database, [last])
        await begin(redrives, JOB + "2", reason="exhausted")
        assert (await redriven(redrives, JOB + "2"))["redriven"] == 1


async def test_one_given_up_again_is_sent_again_also_where_clocks_differ(database_settings: Settings) -> None:
    settings = database_settings
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        first = buried(settings, make("x"))
        await store(database, [first])
        await begin(redrives, JOB + "1", ids=[first.id])
        await redriven(redrives, JOB + "1")
        (value,) = await sent(settings, "deliveries.sink")
        again = buried(settings, Delivery.decode(json.dumps(value).encode()))
        behind = now() - timedelta(seconds=2)  # of who gave it up
        copy = buried(settings, make("x"))  # of a worker that died before it had said so
        await store(database, [msgspec.structs.replace(letter, at=behind) for letter in (again, copy)])
        await begin(redrives, JOB + "2", ids=[first.id])
        done = await redriven(redrives, JOB + "2")
        assert (done["redriven"], done["why"]) == (1, {REPEATED: 1})
        assert len(await sent(settings, "deliveries.sink")) == 2


class Dying(Redriving):
    """One that dies in the middle of its first batch."""

    sends = False

    async def _commit(self, id_: str, batch: Batch) -> None:
        if self.sends:
            await self._kafka.send(batch.id, batch.records, batch.topics)
        raise asyncio.CancelledError


@pytest.mark.parametrize("sends", [False, True], ids=["before Kafka has it", "after Kafka has it"])
async def test_one_that_dies_within_a_batch_leaves_it_to_the_next(database_settings: Settings, sends: bool) -> None:
    settings = database_settings
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        await store(database, letters(settings, 40))
        await begin(redrives, JOB + "1", consumer="sink", per_second=30)
        dying = Dying(settings, database, lease_s=0.1)
        dying.sends = sends
        with pytest.raises(asyncio.CancelledError):
            await dying.work()
        assert len(await sent(settings, "deliveries.sink") if sends else []) == (30 if sends else 0)
        done = await redriven(redrives, JOB + "1")
        assert (done["state"], done["redriven"], done["skipped"]) == ("done", 40, 0)
        counts = Counter(value["id"] for value in await sent(settings, "deliveries.sink"))
        assert (len(counts), set(counts.values())) == (40, {1})
        # The dead one wakes up, and finds that it may do nothing any more.
        await dying._lease.release()
        await dying.close()


async def test_one_that_lost_its_lease_neither_sends_nor_marks(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = database_settings
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        await store(database, letters(settings, 20))
        await begin(redrives, JOB + "1", consumer="sink")
        slow = Redriving(settings, database, lease_s=0.1)
        asleep, awake = asyncio.Event(), asyncio.Event()
        send = slow._kafka.send

        async def sleepy(*batch: Any) -> None:
            asleep.set()
            await awake.wait()
            await send(*batch)

        monkeypatch.setattr(slow._kafka, "send", sleepy)
        sleeping = asyncio.create_task(slow.work())
        await asleep.wait()
        assert (await redriven(redrives, JOB + "1"))["redriven"] == 20
        awake.set()
        await sleeping
        await slow.close()
        assert len(await sent(settings, "deliveries.sink")) == 20
        assert (await redrives.get(COMMAND_LINE, JOB + "1"))["redriven"] == 20


@pytest.mark.slow
async def test_killed_again_and_again_each_letter_is_sent_once(settings: Settings) -> None:
    """Three processes at once, one of which is killed whenever some letters have gone."""
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        await store(database, letters(settings, LETTERS))
        per_second = max(20, LETTERS // 10)
        await begin(redrives, JOB + "1", consumer="sink", reason="exhausted", per_second=per_second)

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.rigs.redrive_rig"], cwd=ROOT, env={**os.environ, **environment(settings)}
            )

        processes = [start() for _ in range(2)]
        kills, at = 0, 0
        try:

            async def moved() -> bool:
                found = await redrives.get(COMMAND_LINE, JOB + "1")
                return bool(found["state"] != "running" or found["redriven"] > at)

            while (found := await redrives.get(COMMAND_LINE, JOB + "1"))["state"] == "running":
                at = found["redriven"]
                await wait_until(moved)
                await asyncio.sleep(random.random() * 0.1)
                if kills < KILLS:
                    async with database.read() as session:
                        owner = await _owner(session)
                    for place, process in enumerate(processes):
                        if owner is not None and f"/{process.pid}/" in owner:
                            process.kill()
                            await asyncio.to_thread(process.wait, WAIT_S)
                            processes[place] = start()
                            kills += 1
        finally:
            for process in processes:
                process.kill()
                process.wait(WAIT_S)
        assert (found["state"], found["redriven"], found["skipped"], found["failed"]) == ("done", LETTERS, 0, 0)
        counts = Counter(value["id"] for value in await sent(settings, "deliveries.sink"))
        print(f"{LETTERS} letters, {kills} kills: {len(counts)} ids, {sum(counts.values())} records")
        assert (len(counts), set(counts.values())) == (LETTERS, {1})
        assert kills == KILLS


async def _owner(session: Any) -> str | None:
    owner: str | None = await session.scalar(select(LeaseRow.owner).where(LeaseRow.name == "redrive"))
    return owner


async def test_one_is_cancelled_by_any_process_and_so_many_go_on_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        await store(database, letters(settings, 40))
        await begin(redrives, JOB + "1", consumer="sink", per_second=10)
        await redrives.redriving.work()
        monkeypatch.setattr(redrives_module, "MOST_AT_ONCE", 1)
        with pytest.raises(Conflict, match="1 redrives are at work already"):
            await begin(redrives, JOB + "2", consumer="sink")
        await Redrives(settings, database).cancel(COMMAND_LINE, JOB + "1")
        for _ in range(3):
            await redrives.redriving.work()
        found = await redrives.get(COMMAND_LINE, JOB + "1")
        assert (found["state"], found["redriven"]) == ("cancelled", 10)
        assert len(await sent(settings, "deliveries.sink")) == 10
        await redrives.cancel(COMMAND_LINE, JOB + "1")  # stays as it is
        with pytest.raises(UnknownName):
            await redrives.get(COMMAND_LINE, JOB + "9")
        assert (await begin(redrives, JOB + "2", consumer="sink"))["matched"] == 30


async def test_a_team_sends_its_own_again(settings: Settings) -> None:
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        await define(database, "configuration", "all", team="ops")
        await store(database, letters(settings, 3))
        dev, ops = (Actor(name, RUN, team=name, strict=True) for name in ("dev", "ops"))
        assert (await begin(redrives, JOB + "1", dev, consumer="sink"))["matched"] == 0
        assert (await begin(redrives, JOB + "2", ops, consumer="sink"))["matched"] == 3
        with pytest.raises(UnknownName):
            await redrives.get(dev, JOB + "2")
        assert [item["id"] for item in (await redrives.list(dev, PageQuery()))[0]] == [JOB + "1"]
        with pytest.raises(OtherTeam):
            await redrives.cancel(Actor("dev", RUN, team="dev"), JOB + "2")
        assert (await redriven(redrives, JOB + "2"))["redriven"] == 3


async def test_what_was_in_doubt_for_days_is_said_to_be_unknown(settings: Settings) -> None:
    """Kafka may have forgotten which batch was committed last, so neither is sent again nor marked."""
    async with opened(settings) as database, worked(settings, database) as redrives:
        await define(database, "consumer", "sink")
        await store(database, letters(settings, 3))
        await begin(redrives, JOB + "1", consumer="sink")
        dying = Dying(settings, database, lease_s=0.1)
        with pytest.raises(asyncio.CancelledError):
            await dying.work()
        await dying.close()
        async with database.write() as session:
            row = await session.get(RedriveRow, JOB + "1")
            assert row is not None
            assert row.batch is not None
            row.batch = {**row.batch, "at": (now() - redriving_module._KNOWN_FOR - timedelta(hours=1)).isoformat()}
        found = await redriven(redrives, JOB + "1")
        assert (found["state"], found["redriven"]) == ("failed", 0)
        assert "not known whether" in found["error"]
