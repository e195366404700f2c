"""The follower of the history: each record once, across stops, shares, faults and new topics."""

import orjson
from sqlalchemy import func, select, text, update

from control_api.access import tokens
from control_api.history import records
from control_api.history.queries import AttemptQuery
from control_api.history.sight import Sight
from control_api.migrate import upgrade
from control_api.models import DeadLetterRow, HistoryOffsetRow
from notifier.database import Database
from notifier.settings import Settings
from tests.rigs.api_rig import GOOD, client, define, is_ready, running
from tests.rigs.history_rig import attempt, count_rows, dead_letter, following, has_rows
from tests.rigs.kafka_tools import delete_topics, produce, wait_until

pytest_plugins = ["tests.rigs.databases"]


async def test_the_history_holds_each_record_once_across_stops_and_shares(
    database_settings: Settings, database: Database
) -> None:
    settings = database_settings
    values = [attempt(f"m{number}").encode() for number in range(400)]
    await produce(settings, "attempts", values[:100])
    async with following(settings, database):
        await wait_until(lambda: count_rows(database))
    await produce(settings, "attempts", values[100:200])
    async with following(settings, database), following(settings, database):
        await produce(settings, "attempts", values[200:])
        await produce(settings, "dead_letters", [dead_letter("d").encode()])
        await wait_until(lambda: has_rows(database, 400), otherwise="not all attempts are there")
    async with following(settings, database) as history:
        await wait_until(lambda: history.lag == 0)
        await wait_until(lambda: count_rows(database, DeadLetterRow))
        assert await count_rows(database) == 400
    async with database.read() as session:
        items, _ = await records.attempts(session, AttemptQuery(producer="ci", limit=500), Sight())
        assert {item["message"] for item in items} == {f"m{number}" for number in range(400)}
        # A process that was thought dead goes back in time: what it reads again is stored once all the same.
        await session.execute(update(HistoryOffsetRow).values(offset=0))
        await session.commit()
    async with following(settings, database):
        await wait_until(lambda: _all_read(database, 400))
        assert await count_rows(database) == 400


async def _all_read(database: Database, count: int) -> bool:
    async with database.read() as session:
        query = select(func.sum(HistoryOffsetRow.offset)).where(HistoryOffsetRow.topic.endswith("attempts"))
        return (await session.scalar(query) or 0) >= count


async def test_a_topic_that_begins_anew_is_read_from_its_start(settings: Settings) -> None:
    await upgrade(settings)
    database = Database(settings)
    await produce(settings, "attempts", [attempt(f"old{number}").encode() for number in range(20)], partition=0)
    async with following(settings, database):
        await wait_until(lambda: has_rows(database, 20))
    await delete_topics(settings)
    await produce(settings, "attempts", [attempt("new").encode()], partition=0)
    async with following(settings, database):
        await wait_until(lambda: has_rows(database, 21))
    await database.close()


async def test_a_record_that_is_newer_than_this_program_ends_the_history(settings: Settings) -> None:
    await upgrade(settings)
    database = Database(settings)
    await produce(settings, "attempts", [orjson.loads(attempt("m").encode()) | {"v": 2}])
    async with following(settings, database) as history:
        await wait_until(lambda: history.failed)
    assert await count_rows(database) == 0
    await database.close()


async def test_a_database_that_drops_its_connections_is_found_again(settings: Settings, postgresql_url: str) -> None:
    settings = settings.model_copy(update={"database_url": postgresql_url})
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["admin"])
    database = Database(settings)
    async with running(settings) as url, client(url, token) as asking:
        await wait_until(lambda: is_ready(asking))
        await produce(settings, "attempts", [attempt("before").encode()])
        await wait_until(lambda: has_rows(database, 1))
        async with database.write() as session:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            mine = " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            await session.execute(text(others + mine))
        answer = await asking.post("/api/v1/messages", json=GOOD)
        assert answer.status_code in (202, 503)
        await produce(settings, "attempts", [attempt("after").encode()])
        await wait_until(lambda: has_rows(database, 2))
        assert (await asking.post("/api/v1/messages", json=GOOD)).status_code == 202
        await wait_until(lambda: is_ready(asking))
    await database.close()
