"""What a change of definitions does to the due times of a ticker that runs."""

import logging

import pytest

from notifier.database import Database
from notifier.record import now
from notifier.schedule import Schedule
from notifier.settings import Settings
from streams.ticker.claims import Claims
from streams.ticker.due import Cursor
from tests.rigs.kafka_tools import wait_for_records, wait_until
from tests.rigs.ticker_rig import HOUR, HOURLY, NEVER_SOON, cursor, define, delete, due_times, running, ticks

pytest_plugins = ["tests.rigs.databases"]


@pytest.mark.predecessor("S-77", "S-80")
async def test_a_schedule_counts_from_the_moment_it_was_defined(
    database_settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    settings = database_settings
    caplog.set_level(logging.INFO, "streams.ticker.ticker")
    claims = Claims(database, "looking")
    defined_at = await define(settings, "changed", 1, {"cron": HOURLY, "missed": "all"})
    await define(settings, "off", 1, {"cron": "* * * * * *"}, enabled=False)
    await define(settings, "by-hand", 1, None)

    async def rows(*wanted: tuple[str, int, str]) -> bool:
        return {(one.configuration, one.revision, one.cron) for one in await claims.cursors()} == set(wanted)

    async def become(*wanted: tuple[str, int, str]) -> dict[str, Cursor]:
        await wait_until(lambda: rows(*wanted), otherwise=f"{wanted}")
        return {one.configuration: one for one in await claims.cursors()}

    async with running(settings):
        first = (await become(("changed", 1, HOURLY)))["changed"]
        assert first.next_due_at == Schedule(HOURLY).next_due(defined_at)
        # another title leaves the due times alone
        await define(settings, "changed", 2, {"cron": HOURLY, "missed": "all"}, title="Other")
        second = (await become(("changed", 2, HOURLY)))["changed"]
        assert second.next_due_at == first.next_due_at
        # another schedule begins now, whatever it would have asked for before
        changed_at = await define(
            settings, "changed", 3, {"cron": "0 0 * * *", "timezone": "Asia/Tokyo", "missed": "all"}
        )
        third = (await become(("changed", 3, "0 0 * * *")))["changed"]
        assert third.next_due_at == Schedule("0 0 * * *", "Asia/Tokyo").next_due(changed_at)
        # enabled again, it counts from then
        enabled_at = await define(settings, "off", 4, {"cron": NEVER_SOON})
        both = await become(("changed", 3, "0 0 * * *"), ("off", 4, NEVER_SOON))
        assert both["off"].next_due_at == Schedule(NEVER_SOON).next_due(enabled_at)
        await define(settings, "changed", 5, {"cron": "0 0 * * *"}, enabled=False)
        await become(("off", 4, NEVER_SOON))
        await define(settings, "off", 6, None)
        await become()
    hours = {due for due in await due_times(settings, "changed") if due > defined_at}
    assert await due_times(settings, "off") == []
    assert len(hours) <= 1  # one where the hour turned meanwhile


@pytest.mark.predecessor("S-80")
async def test_a_configuration_that_is_deleted_takes_its_schedule_with_it(
    database_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = database_settings
    monkeypatch.setattr("streams.ticker.ticker._ORPHAN_S", 0.5)
    monkeypatch.setattr("streams.ticker.ticker._RECONCILE_EVERY_S", 0.2)
    claims = Claims(database, "looking")
    await define(settings, "goes", 1, {"cron": "* * * * * *"})
    await define(settings, "stays", 1, {"cron": "* * * * * *"})
    async with running(settings):
        await wait_for_records(settings, "ticks", 4)
        await delete(settings, "goes")

        async def gone() -> bool:
            return [one.configuration for one in await claims.cursors()] == ["stays"]

        await wait_until(gone)
        left = await due_times(settings, "goes")
        seen = len(await due_times(settings, "stays"))

        async def went_on() -> bool:
            return len(await due_times(settings, "stays")) >= seen + 3

        await wait_until(went_on)
    assert await due_times(settings, "goes") == left


async def test_a_ticker_that_knows_less_leaves_the_row_alone(database_settings: Settings, database: Database) -> None:
    """A row of a newer version, or of a configuration that it has not heard of, is another ticker's to judge."""
    settings = database_settings
    past = now() - HOUR
    await define(settings, "older", 1, {"cron": "* * * * * *"})
    await define(settings, "known", 1, {"cron": "* * * * * *"})
    claims = Claims(database, "newer")
    await claims.add([cursor("older", HOURLY, past, revision=7), cursor("unheard", HOURLY, past)])
    async with running(settings):
        await wait_for_records(settings, "ticks", 3)
    assert {tick.configuration for tick, _ in await ticks(settings)} == {"known"}
    left = {one.configuration: one.next_due_at for one in await claims.cursors()}
    assert left["older"] == left["unheard"] == past


async def test_a_change_loses_nothing_that_was_due_before_it(database_settings: Settings, database: Database) -> None:
    settings = database_settings
    due = now().replace(microsecond=0) - HOUR
    old = "0 0 1 1 *"
    await Claims(database, "before").add([cursor("changed", old, due)])
    await define(settings, "changed", 2, {"cron": NEVER_SOON})
    async with running(settings):
        await wait_for_records(settings, "ticks", 1)
    assert await due_times(settings, "changed") == [due]
