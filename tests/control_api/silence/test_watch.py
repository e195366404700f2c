"""What the API tells of producers from which nothing comes, by the real topics."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import httpx
from sqlalchemy import insert

from control_api.access.actor import COMMAND_LINE
from control_api.access.tokens import create_token
from control_api.definitions.services import Services
from control_api.intake.intake import Intake
from control_api.intake.outgoing import Outgoing
from control_api.migrate import upgrade_database
from control_api.models import MessageRow, SilenceRow
from control_api.silence.arrivals import unread
from control_api.silence.watch import Watch
from control_api.statuses import Statuses
from notifier.database import Database
from notifier.errors import BrokerError
from notifier.record import now
from notifier.seal import Seal, generate_key
from notifier.settings import Settings, load_settings
from tests.rigs.api_rig import REGISTRY, client, define, running
from tests.rigs.kafka_tools import produce, read_all, wait_until


async def told(settings: Settings) -> list[dict[str, Any]]:
    """The notices of all producers, in the order in which they came."""
    records = [
        record for record in await read_all(settings, "messages") if b"notifier-silence" in (record.value or b"")
    ]
    return [json.loads(record.value) for record in sorted(records, key=lambda record: record.timestamp)]


async def is_told(settings: Settings, count: int) -> bool:
    return len(await told(settings)) >= count


async def put(asking: httpx.AsyncClient, name: str, type_: str, every: str | None) -> None:
    answer = await asking.put(f"/api/v1/producers/{name}", json={"type": type_, "expect_every": every})
    assert answer.status_code == 200, answer.text


async def state(asking: httpx.AsyncClient) -> str | None:
    found = (await asking.get("/api/v1/status")).json()["items"]
    return next((one["state"] for one in found if (one["kind"], one["name"]) == ("producer", "ci")), None)


async def test_a_silence_is_told_once_and_so_is_its_end(settings: Settings) -> None:
    await define(settings)
    token = await create_token(settings, name="t", scopes=["admin"])
    async with running(settings) as url, running(settings) as other, client(url, token) as asking:
        await put(asking, "reviews", "pulled", "1s")  # no runner works, so nothing can come
        await put(asking, "ci", "pushed", "2s")
        await wait_until(lambda: is_told(settings, 1))
        (silent,) = await told(settings)
        assert (silent["producer"], silent["severity"], silent["labels"]) == ("ci", "warning", {"silence": "silent"})

        async def is_silent() -> bool:
            problem = (await asking.get("/api/v1/producers/ci")).json().get("problem") or ""
            return await state(asking) == "silent" and "its source is silent since" in problem

        await wait_until(is_silent)
        shown = (await asking.get("/api/v1/producers/ci")).json()
        assert shown["expect_every"] == "2s"
        async with client(other, token) as beside:
            assert (await beside.get("/api/v1/producers/ci")).status_code == 200
    # Others take over: it is told no second time, and what comes now ends it.
    async with running(settings) as url, client(url, token) as asking:

        async def is_sent() -> bool:
            return (await asking.post("/api/v1/messages", json={"producer": "ci", "content": "x"})).status_code == 202

        await wait_until(lambda: _is_silent(asking))
        assert len(await told(settings)) == 1
        await put(asking, "ci", "pushed", "30m")
        await wait_until(is_sent)
        await wait_until(lambda: is_told(settings, 2))
        back = (await told(settings))[1]
        assert (back["producer"], back["severity"], back["labels"]) == ("ci", "info", {"silence": "over"})

        async def is_well() -> bool:
            return await state(asking) == "ready" and "problem" not in (await asking.get("/api/v1/producers/ci")).json()

        await wait_until(is_well)
        await put(asking, "ci", "pushed", None)
    assert [one["producer"] for one in await told(settings)] == ["ci", "ci"]
    database = Database(settings)
    try:
        await produce(settings, "messages", [{"producer": "reviews", "content": "not indexed"}, b"junk"])
        assert await unread(settings, database, {"ci", "reviews"}) == {"reviews"}  # our own notices are no arrivals
    finally:
        await database.close()


class Lazy:
    """Takes what is written, once the broker is there: the first time it is not."""

    connected = True

    def __init__(self) -> None:
        self.asked = 0
        self.written: list[bytes] = []

    async def write(self, records: Sequence[Outgoing]) -> None:
        self.asked += 1
        if self.asked == 1:
            raise BrokerError("the broker does not answer")
        self.written += [record.value or b"" for record in records]


async def test_that_a_producer_is_back_is_told_once_the_broker_is(tmp_path: Path) -> None:
    settings = load_settings(
        env_file=None, data_dir=tmp_path, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )
    database = Database(settings)
    await upgrade_database(database)
    services = Services(database, REGISTRY, Seal(generate_key()))
    await services.create(COMMAND_LINE, "producer", {"name": "ci", "type": "pushed", "expect_every": "30m"})
    place = {"generation": 0, "partition": 0, "offset": 1, "digest": 1, "at": now()}
    async with database.write() as session:
        await session.execute(insert(SilenceRow).values(producer="ci", since=now(), seen=0, told=True))
        await session.execute(insert(MessageRow).values(producer="ci", message="1", **place))
    broker = Lazy()
    watch = Watch(settings, database, REGISTRY, cast("Intake", broker), Statuses(settings))
    await watch.start()
    try:
        await wait_until(lambda: len(broker.written) == 2)
    finally:
        await watch.stop()
        await database.close()
    assert b"/back" in broker.written[0]
    assert b'"ready"' in broker.written[1]


async def _is_silent(asking: httpx.AsyncClient) -> bool:
    return await state(asking) == "silent"
