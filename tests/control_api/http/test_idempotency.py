"""Idempotency keys."""

import secrets
from datetime import timedelta

import orjson
from sqlalchemy import update

from control_api.access import tokens
from control_api.models import IdempotencyRow
from notifier.database import SQLITE_FILE, Database
from notifier.record import now, rfc3339
from tests.rigs.api_rig import GOOD, Api
from tests.rigs.kafka_tools import read_all
from tests.rigs.problems import problem


async def test_the_same_request_under_a_key_is_done_once(api: Api) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    async with api.client("push") as ci:
        first = await ci.post("/api/v1/messages", json=GOOD, headers=key)
        again = await ci.post("/api/v1/messages", json=GOOD, headers=key)
        assert first.status_code == again.status_code == 202
        assert first.json() == again.json()
        assert again.headers["idempotency-replayed"] == "true"
        other = await ci.post("/api/v1/messages", json={**GOOD, "content": "other"}, headers=key)
        problem(other, 422)
        problem(await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": "a b"}), 400)
        # What was refused is not kept: the mended request may use the key.
        key = {"Idempotency-Key": secrets.token_hex(8)}
        problem(await ci.post("/api/v1/messages", json={**GOOD, "producer": "no"}, headers=key), 422)
        assert (await ci.post("/api/v1/messages", json=GOOD, headers=key)).status_code == 202
    async with api.client("admin") as other_actor:
        assert (await other_actor.post("/api/v1/messages", json=[GOOD], headers=key)).status_code == 202
    ids = [orjson.loads(record.value)["id"] for record in await read_all(api.settings, "messages")]
    assert ids.count(first.json()["messages"][0]["id"]) == 1


async def test_a_token_that_is_answered_again_is_kept_sealed(api: Api) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    wanted = {"name": "once", "scopes": ["read"]}
    async with api.client() as admin:
        first = await admin.post("/api/v1/tokens", json=wanted, headers=key)
        again = await admin.post("/api/v1/tokens", json=wanted, headers=key)
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    names = [one.name for one in await tokens.list_tokens(api.settings)]
    assert names.count("once") == 1
    files = api.settings.data_dir.glob(f"{SQLITE_FILE}*")
    assert not any(first.json()["token"].split("_", 2)[2].encode() in file.read_bytes() for file in files)


async def test_a_request_at_work_under_the_key_is_waited_for_unless_its_worker_died(api: Api) -> None:
    key = secrets.token_hex(8)
    database = Database(api.settings)

    async def claim(claimed: timedelta) -> None:
        async with database.write() as session:
            await session.execute(
                update(IdempotencyRow)
                .where(IdempotencyRow.key == key)
                .values(status=None, body=None, headers={"claimed_at": rfc3339(now() - claimed)})
            )

    async with api.client("push") as ci:
        first = await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": key})
        await claim(timedelta(seconds=5))
        answer = await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": key})
        problem(answer, 409)
        assert answer.headers["retry-after"]
        await claim(timedelta(minutes=5))
        again = await ci.post("/api/v1/messages", json=GOOD, headers={"Idempotency-Key": key})
    assert again.json() == first.json()  # the same ids, so the repeat is recognisable
    await database.close()
