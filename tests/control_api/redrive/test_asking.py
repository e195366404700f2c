"""Redrives over REST and GraphQL, with no broker: they wait for it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from control_api.migrate import upgrade
from notifier.settings import Settings
from tests.rigs.delivery_rig import make
from tests.rigs.graphql_api import Api, serving
from tests.rigs.kafka_tools import wait_until
from tests.rigs.redrive_rig import buried, store

CASES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"per_second": 7}, ""),
    ({"dry_run": True}, ""),
    ({"reason": "tired"}, "/reason"),
    ({"reason": []}, "/reason"),
    ({"ids": []}, "/ids"),
    ({"ids": ["a\0"]}, "/ids/0"),
    ({"consumer": "a", "since": "noon"}, "/since"),
    ({"since": "2026-11-29T00:00:00Z", "until": "2026-11-28T00:00:00Z"}, ""),
    ({"consumer": "a", "per_second": 0}, "/per_second"),
    ({"consumer": "a", "stage": "run"}, "/stage"),
]


@pytest_asyncio.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    settings = settings.model_copy(update={"kafka": "127.0.0.1:1"})
    await upgrade(settings)
    async with serving(settings) as api:
        await store(api.parts.database, [buried(settings, make("x", number=number)) for number in range(3)])
        yield api


async def test_it_is_begun_counted_followed_and_cancelled(api: Api) -> None:
    async with api.client("run") as asking, api.client("read") as reading:
        for asked, pointer in CASES:
            answer = await asking.post("/api/v1/dead_letters/redrive", json=asked)
            assert answer.status_code == 422, (asked, answer.text)
            assert answer.json()["errors"][0]["pointer"].startswith(pointer), (asked, answer.text)
        counted = await asking.post("/api/v1/dead_letters/redrive", json={"consumer": "sink", "dry_run": True})
        assert (counted.status_code, counted.json()["job"], counted.json()["matched"]) == (200, None, 3)
        headers = {"Idempotency-Key": "k"}
        answers = [
            await asking.post("/api/v1/dead_letters/redrive", json={"ids": [make("x").id]}, headers=headers)
            for _ in range(2)
        ]
        assert answers[0].status_code == 202
        begun = answers[0].json()
        assert (begun, begun["matched"]) == (answers[1].json(), 1)
        at = answers[0].headers["location"]
        assert at == f"/api/v1/jobs/{begun['job']}"
        found: dict[str, Any] = {}

        async def waits() -> bool:
            nonlocal found
            found = (await reading.get(at)).json()
            return found["error"] is not None

        await wait_until(waits)
        assert "it waits" in found["error"]
        assert (found["state"], found["criteria"], found["redriven"]) == ("running", {"ids": [make("x").id]}, 0)
        assert found["actor"].endswith("(run)")
        assert (await reading.delete(at)).status_code == 403
        for _ in range(2):
            assert (await asking.delete(at)).status_code == 204
        assert (await reading.get(at)).json()["state"] == "cancelled"
        assert [job["id"] for job in (await reading.get("/api/v1/jobs")).json()["items"]] == [begun["job"]]
        for id_ in ("x", "0" * 36):
            assert (await reading.get(f"/api/v1/jobs/{id_}")).status_code == 404
    async with api.client("admin") as admin:
        entries = (await admin.get("/api/v1/audit", params={"kind": "job"})).json()["items"]
    assert [(entry["action"], entry["actor"], entry["name"]) for entry in entries] == [
        ("cancel", found["actor"], begun["job"]),
        ("redrive", found["actor"], begun["job"]),
    ]


async def test_graphql_asks_the_same(api: Api) -> None:
    counted = await api.data('mutation { redrive(consumer: ["sink"], dryRun: true) { job { id } matched reasons } }')
    assert counted["redrive"] == {"job": None, "matched": 3, "reasons": {"exhausted": 3}}
    wrong = await api.data('mutation { redrive(reason: ["tired"]) { matched errors { pointer } } }')
    assert wrong["redrive"]["errors"][0]["pointer"].startswith("/reason")
    begun = await api.data(
        'mutation { redrive(reason: ["exhausted"], perSecond: 5) { job { id state perSecond } matched } }'
    )
    job = begun["redrive"]["job"]
    assert (job["state"], job["perSecond"], begun["redrive"]["matched"]) == ("running", 5, 3)
    listed = await api.data("{ jobs { items { id kind } } }")
    assert listed["jobs"]["items"] == [{"id": job["id"], "kind": "redrive"}]
    cancelled = await api.data("mutation ($id: String!) { cancelJob(id: $id) { job { state } } }", id=job["id"])
    assert cancelled["cancelJob"]["job"] == {"state": "cancelled"}
    assert (await api.data("query ($id: String!) { job(id: $id) { state matched } }", id=job["id"]))["job"] == {
        "state": "cancelled", "matched": 3,
    }  # fmt: skip
    assert await api.refused('mutation { redrive(consumer: ["sink"]) { matched } }', "read") == "FORBIDDEN"
