"""The ticker: one tick for each due time whichever ticker dies, and what is made up for."""

import asyncio
import json
import os
import signal
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from control_api.migrate import upgrade
from notifier.database import Database
from notifier.kafka import broker_file
from notifier.record import now
from notifier.schedule import Schedule
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from notifier.tick import Tick
from notifier.tick_claims import TICK
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from streams.ticker.claims import Claims, tick_id
from streams.ticker.due import MISSED_LIMIT, Move
from streams.ticker.ticker import ID_HEADER
from tests.rigs.kafka_tools import produce, read_all, wait_for_records, wait_until
from tests.rigs.roles import Role, roles, start_role
from tests.rigs.ticker_rig import (
    HOUR,
    HOURLY,
    NEVER_SOON,
    SECOND,
    all_sent,
    cursor,
    define,
    due_times,
    running,
    ticks,
)
from tests.test_end_to_end import api_client, apply

pytest_plugins = ["tests.rigs.databases"]


async def pause(role: Role, database: Database) -> None:
    """Stops a process, but not within a transaction of SQLite, whose lock nobody takes from it until it goes on."""
    while True:
        role.process.send_signal(signal.SIGSTOP)
        if not database.is_sqlite:
            return
        connection = sqlite3.connect(str(database.url.database), timeout=3, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            role.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.05)
        finally:
            connection.close()


# --- crashes ---


@pytest.mark.predecessor("S-81")
@pytest.mark.slow
async def test_every_due_time_has_one_tick_while_tickers_are_killed_and_paused(
    database_settings: Settings, database: Database
) -> None:
    settings = database_settings
    defined_at = await define(settings, "every-second", 1, {"cron": "* * * * * *", "missed": "all"})

    async def more(count: int) -> None:
        seen = len(await due_times(settings, "every-second"))
        await wait_for_records(settings, "ticks", seen + count, 120)

    started: list[Role] = []
    try:
        for _ in range(3):
            role = await start_role(settings, "ticker")
            started.append(role)
        killed, paused, left = started
        for role in started:
            await wait_until(lambda role=role: "has started" in role.output(), 120)  # type: ignore[misc]  # a loop's lambda
        await more(2)
        await killed.stop(signal.SIGKILL)
        await pause(paused, database)
        await more(5)
        paused.process.send_signal(signal.SIGCONT)
        await more(2)
        # The one that was paused does the work alone, from where the database is.
        assert await left.stop() == 0
        await more(3)
        assert await paused.stop() == 0
    finally:
        for role in started:
            if role.process.returncode is None:
                role.process.send_signal(signal.SIGCONT)
                await role.stop(signal.SIGKILL)
            print(f"--- {role.output()[-3000:]}")
    found = await ticks(settings)
    due = sorted({tick.scheduled_at for tick, _ in found})
    assert due[0] == Schedule("* * * * * *").next_due(defined_at)
    assert due == [due[0] + number * SECOND for number in range(len(due))], "none is missing"
    identities = {(tick.scheduled_at, identity) for tick, identity in found}
    assert len(identities) == len(due), "every due time has one identity"
    assert all(identity == tick_id(tick) and tick.trigger == "cron" for tick, identity in found)
    async with database.read() as session:
        claimed = (await session.execute(select(TICK.c.due_at).order_by(TICK.c.due_at))).scalars().all()
    assert list(claimed) == due


@pytest.mark.slow
@pytest.mark.predecessor("S-79")
async def test_every_due_time_has_one_tick_while_the_broker_is_away(tmp_path: Path) -> None:
    """Two configurations with the same schedule; the broker is killed once and stopped in order once, for some seconds each."""
    own = load_settings(
        env_file=None, data_dir=tmp_path, kafka_port=free_port(), database_url=None, secret_key=generate_key()
    )
    broker = EmbeddedBroker(own)
    settings = own.model_copy(update={"kafka": await asyncio.to_thread(broker.start, die_with_parent=True)})
    names = ("every-second", "every-second-too")
    started: list[Role] = []
    try:
        await upgrade(settings)
        started += [await start_role(settings, "ticker"), await start_role(settings, "ticker")]
        for name in names:
            await define(settings, name, 1, {"cron": "* * * * * *", "missed": "none"})
        await wait_for_records(settings, "ticks", 4, 120)
        # One that is still starting when the broker goes would end, and be started anew by a supervisor.
        await wait_until(lambda: all('"action":"start"' in role.output() for role in started), 120)
        for how in ("killed", "stopped"):
            if how == "killed":
                os.kill(json.loads(broker_file(settings).read_text())["pid"], signal.SIGKILL)
            else:
                assert await asyncio.to_thread(broker.stop)
            away_from = now()
            await asyncio.sleep(6)
            back_at = now()
            await asyncio.to_thread(broker.start, die_with_parent=True)

            async def caught_up(after: datetime = back_at) -> bool:
                """New ticks come, and so have the old ones: what was claimed and not written is written some seconds later."""
                found = [sorted(set(await due_times(settings, name))) for name in names]
                return all(
                    due[-1] > after + 2 * SECOND and len(due) == (due[-1] - due[0]) // SECOND + 1 for due in found
                )

            await wait_until(caught_up, 120, lambda: "\n".join(role.output()[-2000:] for role in started))
            for name in names:
                while_away = [due for due in await due_times(settings, name) if away_from < due <= back_at]
                assert len(set(while_away)) >= 5, (how, name)
        for role in started:
            assert await role.stop() == 0, role.output()[-3000:]
        for name in names:
            found = await ticks(settings, name)
            due = sorted({tick.scheduled_at for tick, _ in found})
            assert due == [due[0] + number * SECOND for number in range(len(due))], "none is missing"
            assert len({(tick.scheduled_at, identity) for tick, identity in found}) == len(due), "each has one identity"
            assert all(identity == tick_id(tick) for tick, identity in found)
        database = Database(settings)
        assert await all_sent(database)
        await database.close()
    finally:
        for role in started:
            if role.process.returncode is None:
                await role.stop(signal.SIGKILL)
        await asyncio.to_thread(broker.stop)


async def test_a_claim_of_a_ticker_that_died_is_published_under_its_id(
    database_settings: Settings, database: Database
) -> None:
    """One that died before it published, and one that published and died before it marked."""
    settings = database_settings
    due = datetime(2026, 1, 1, tzinfo=UTC)
    await define(settings, "before", 1, {"cron": NEVER_SOON})
    await define(settings, "between", 1, {"cron": NEVER_SOON})
    dead = Claims(database, "dead")
    cursors = [cursor(name, NEVER_SOON, due) for name in ("before", "between")]
    await dead.add(cursors)
    after = Schedule(NEVER_SOON).next_due(now())
    moves = [Move(old=one, new=cursor(one.configuration, NEVER_SOON, after), due=[due]) for one in cursors]
    claims = await dead.move(moves)
    assert [claim.configuration for claim in claims] == ["before", "between"]
    assert await dead.move(moves) == []  # the rows have moved on
    await produce(settings, "ticks", [claims[1].tick.encode()], key="between")
    async with running(settings):

        async def published() -> bool:
            return len(await read_all(settings, "ticks")) >= 3 and await all_sent(database)

        await wait_until(published)
    records = await read_all(settings, "ticks")
    published_ticks = [Tick.decode(record.value) for record in records]
    assert published_ticks.count(claims[0].tick) == 1
    assert published_ticks.count(claims[1].tick) == 2
    assert len(published_ticks) == 3
    assert {dict(record.headers)[ID_HEADER].decode() for record in records if record.headers} == {
        claim.tick_id for claim in claims
    }


async def test_it_waits_for_its_tables(database_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    await define(database_settings, "every-second", 1, {"cron": "* * * * * *"})
    async with running(database_settings):
        await wait_until(lambda: "waits for the database" in caplog.text)
        await upgrade(database_settings)
        await wait_for_records(database_settings, "ticks", 1)


# --- missed ---


@pytest.mark.predecessor("S-81")
async def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    database_settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    settings = database_settings
    started_at = now()
    last = started_at.replace(minute=0, second=0, microsecond=0)
    cursors = [cursor(missed, HOURLY, last - 9 * HOUR) for missed in ("none", "last", "all")]
    far = started_at.replace(second=0, microsecond=0) - timedelta(minutes=MISSED_LIMIT + 500)
    cursors.append(cursor("very-many", "* * * * *", far))
    for one in cursors:
        missed = "all" if one.configuration == "very-many" else one.configuration
        await define(settings, one.configuration, 1, {"cron": one.cron, "missed": missed})
    claims = Claims(database, "before")
    await claims.add(cursors)

    async def caught_up() -> bool:
        return not await claims.cursors(started_at) and await all_sent(database)

    async with running(settings):
        await wait_until(caught_up)

    async def made_up(name: str) -> list[datetime]:
        return [due for due in await due_times(settings, name) if due <= started_at]

    assert await made_up("none") == []
    assert await made_up("last") == [last]
    assert await made_up("all") == [last - number * HOUR for number in range(9, -1, -1)]
    very_many = await due_times(settings, "very-many")
    assert MISSED_LIMIT <= len(very_many) <= MISSED_LIMIT + 1  # one more where a minute began meanwhile
    assert very_many == sorted(set(very_many))
    assert very_many[0] >= far + timedelta(minutes=490)
    assert "very-many has missed more than 1000 due times" in caplog.text


async def test_a_ticker_that_starts_catches_up_with_what_nobody_did(
    database_settings: Settings, database: Database
) -> None:
    """A short while without any ticker, within which everything that was due is still done, is no stop."""
    settings = database_settings
    await define(settings, "every-second", 1, {"cron": "* * * * * *", "missed": "none"})
    async with running(settings):
        await wait_for_records(settings, "ticks", 2)
    before = await due_times(settings, "every-second")
    async with running(settings):
        await wait_for_records(settings, "ticks", len(before) + 2)
    due = await due_times(settings, "every-second")
    assert len(due) == len(set(due))
    assert due[: len(before)] == before


# --- definitions ---


async def test_a_clock_set_back_makes_nothing_due_again(
    database_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = database_settings
    await define(settings, "every-second", 1, {"cron": "* * * * * *", "missed": "all"})
    async with running(settings):
        await wait_for_records(settings, "ticks", 2)
        monkeypatch.setattr("streams.ticker.ticker.now", lambda: now() - timedelta(seconds=3))
        seen = len(await due_times(settings, "every-second"))
        await wait_for_records(settings, "ticks", seen + 2)
    due = await due_times(settings, "every-second")
    assert due == [due[0] + number * SECOND for number in range(len(due))]


# --- end to end ---

DEFINITIONS = """
users: [{username: alice}]
scripts:
  - {name: look, executor: bash, content: "echo '[{\\"id\\": \\"1\\", \\"content\\": \\"seen\\"}]'"}
producers:
  - {name: computer, type: script, parameters: {script: look}}
configurations:
  - name: every-second
    producers: [computer]
    users: [alice]
    schedule: {cron: "* * * * * *"}
  - name: mornings
    producers: [computer]
    schedule: {minute: 0, hour: 9, day_of_week: mon-fri, timezone: Europe/Berlin}
  - {name: by-hand, producers: [computer]}
  - {name: "off", producers: [computer], schedule: {cron: "@daily"}, enabled: false}
"""


@pytest.mark.predecessor("S-76", "S-77")
@pytest.mark.slow
async def test_a_scheduled_configuration_runs_by_itself_and_says_when(settings: Settings) -> None:
    settings = settings.model_copy(update={"http_port": free_port()})
    await apply(settings, DEFINITIONS)
    async with roles(settings, "api", "ticker", "runner"), api_client(settings) as api:
        records = await wait_for_records(settings, "messages", 2, 120)
        ids = [json.loads(record.value)["id"] for record in records]
        due = await due_times(settings, "every-second")
        assert set(ids) <= {f"every-second/{one:%Y-%m-%dT%H:%M:%SZ}/computer/1" for one in due}
        assert len(set(ids)) == len(ids)

        async def schedule(name: str, **query: Any) -> Any:
            answer = await api.get(f"/api/v1/configurations/{name}/schedule", params=query)
            assert answer.status_code == 200, answer.text
            return answer.json()

        mornings = await schedule("mornings", count=3)
        assert mornings["text"] == "At 09:00, Monday through Friday (Europe/Berlin)"
        expected: list[datetime] = [now()]
        for _ in range(3):
            expected.append(Schedule("0 9 * * mon-fri", "Europe/Berlin").next_due(expected[-1]))
        assert mornings["next"] == [f"{one:%Y-%m-%dT%H:%M:%SZ}" for one in expected[1:]]
        assert len((await schedule("every-second"))["next"]) == 5
        assert await schedule("by-hand") == {"text": None, "next": []}
        assert await schedule("off") == {"text": "At 00:00 (UTC)", "next": []}
        assert (await api.get("/api/v1/configurations/nobody/schedule")).status_code == 404
        assert (await api.get("/api/v1/configurations/off/schedule?count=0")).status_code == 422
