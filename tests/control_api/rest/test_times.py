"""Odd times at every address and in every body that takes one: 422 that names the field, or 404, and never 500."""

import json

import httpx
import pytest

from control_api.http.signature import HEADER, sign
from tests.rigs.definition_cases import SECRET
from tests.rigs.odd_times import GO_ZERO, OUT_OF_RANGE, WITHIN
from tests.rigs.problems import pointers, problem
from tests.rigs.rest_rig import Rest, address

NIGHT = {"start": "22:00", "end": "06:00", "timezone": "Asia/Tokyo"}
MESSAGE = {"producer": "ci", "content": "x"}
_NOT_TIMES = ("10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-23T24:00:01Z", "never")


@pytest.mark.parametrize("time", [*OUT_OF_RANGE, *_NOT_TIMES])
async def test_an_odd_time_is_refused_by_name_wherever_it_comes_in(rest: Rest, time: str) -> None:
    admin, push = rest.client(), rest.client("push")
    assert (await admin.patch(address("user", "alice"), json={"working_time": NIGHT})).status_code == 200
    for name in ("occurred_at", "not_before", "expires_at"):
        one = {**MESSAGE, name: time}
        assert pointers(await push.post("/api/v1/messages", json=one)) == [f"/{name}"]
        assert pointers(await push.post("/api/v1/messages", json=[MESSAGE, one])) == [f"/1/{name}"]
        body = json.dumps({"content": "x", name: time}).encode()
        assert pointers(await _hook(rest.client(None), body)) == [f"/{name}"]
    token = {"name": "far", "scopes": ["read"], "expires_at": time}
    assert pointers(await admin.post("/api/v1/tokens", json=token)) == ["/expires_at"]
    working = await admin.get(f"{address('user', 'alice')}/working", params={"at": time})
    assert pointers(working) == ["/at"]
    problem(await admin.get(f"/api/v1/runs/main/{time}"), 422 if time in _NOT_TIMES else 404)
    asked = {"query": 'query($at: String!) { run(configuration: "main", scheduledAt: $at) { state } }'}
    found = (await admin.post("/graphql", json={**asked, "variables": {"at": time}})).json()
    (error,) = found["errors"]
    assert "something is wrong on our side" not in error["message"]
    assert error["extensions"]["code"] == ("INVALID_INPUT" if time in _NOT_TIMES else "NOT_FOUND"), error


async def _hook(asking: httpx.AsyncClient, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json", HEADER: sign(SECRET, body)}
    return await asking.post("/hooks/json/ci", content=body, headers=headers)


@pytest.mark.parametrize("time", WITHIN)
async def test_the_first_and_the_last_time_are_taken(rest: Rest, time: str) -> None:
    admin = rest.client()
    assert (await admin.patch(address("user", "alice"), json={"working_time": NIGHT})).status_code == 200
    assert (await admin.get(f"{address('user', 'alice')}/working", params={"at": time})).status_code == 200
    token = {"name": "far", "scopes": ["read"], "expires_at": time}
    past = time == WITHIN[0]  # a token that has ended already is refused for that
    assert (await admin.post("/api/v1/tokens", json=token)).status_code == (422 if past else 201)
    assert (await admin.get("/api/v1/tokens")).status_code == 200
    problem(await admin.get(f"/api/v1/runs/main/{time}"), 404)
    message = {**MESSAGE, "not_before": time, "expires_at": time, "occurred_at": time}
    problem(await rest.client("push").post("/api/v1/messages", json=message), 503)  # there is no broker here


async def test_an_absent_time_of_go_is_no_fault(rest: Rest) -> None:
    message = {**MESSAGE, "not_before": GO_ZERO, "expires_at": GO_ZERO, "occurred_at": GO_ZERO}
    problem(await rest.client("push").post("/api/v1/messages", json=message), 503)  # there is no broker here
