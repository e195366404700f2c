"""A configuration that is run by hand, until its run is in the history."""

import secrets

import httpx
import orjson
import pytest

from notifier.record import JsonObject, now, rfc3339
from notifier.run import ProducerRun, Run
from tests.rigs.api_rig import Api
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.problems import problem


@pytest.mark.predecessor("S-30", "S-66")
async def test_a_configuration_is_run(api: Api) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    async with api.client("run") as person:
        problem(await person.post("/api/v1/configurations/nobody/run"), 404)
        problem(await person.post("/api/v1/configurations/%00/run"), 400)
        answer = await person.post("/api/v1/configurations/to-chat/run", headers=key)
        again = await person.post("/api/v1/configurations/to-chat/run", headers=key)
    assert answer.status_code == 202
    tick = answer.json()
    assert again.json() == tick
    assert tick["trigger"] == "manual"
    assert answer.headers["location"] == f"/api/v1/runs/to-chat/{tick['scheduled_at']}"
    async with api.client("admin") as admin:
        log = (await admin.get("/api/v1/audit", params={"action": "run"})).json()["items"]
    (entry,) = [one for one in log if one["changes"][0]["after"] == {"scheduled_at": tick["scheduled_at"]}]
    assert (entry["kind"], entry["name"], entry["version"]) == ("configuration", "to-chat", None)
    assert entry["actor"].endswith("(all of run)")
    (record,) = [one for one in await read_all(api.settings, "ticks") if orjson.loads(one.value) == tick]
    assert record.key == b"to-chat"

    run = Run(
        configuration="to-chat",
        scheduled_at=tick["scheduled_at"],
        trigger="manual",
        producers=(ProducerRun(producer="reviews", state="done", messages=3),),
    )
    await produce(api.settings, "runs", [run.encode()], key=f"to-chat/{tick['scheduled_at']}")
    async with api.client("read") as reader:
        found = await wait_until(lambda: _found(reader, answer.headers["location"]))
        assert found["state"] == "running"
        done = orjson.loads(run.encode()) | {"state": "done", "ended_at": rfc3339(now())}
        await produce(api.settings, "runs", [done], key=f"to-chat/{tick['scheduled_at']}")

        async def is_done() -> bool:
            found = await _found(reader, answer.headers["location"])
            return found is not None and found["state"] == "done"

        await wait_until(is_done)
        listed = (await reader.get("/api/v1/runs?configuration=to-chat&state=done")).json()["items"]
    assert [one["scheduled_at"] for one in listed] == [tick["scheduled_at"]]
    assert listed[0]["producers"][0]["messages"] == 3


async def _found(reader: httpx.AsyncClient, path: str) -> JsonObject | None:
    answer = await reader.get(path)
    return answer.json() if answer.status_code == 200 else None
