"""Versions, the audit log and accounts over REST."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi import Request, Response
from sqlalchemy import select

from control_api.definitions.rotation import rotate
from control_api.http.idempotency import once
from control_api.http.problems import Problem
from control_api.models import IdempotencyRow
from notifier.outcome import KINDS, Kind
from notifier.seal import Seal, generate_key
from tests.rigs.definition_cases import SECRET
from tests.rigs.definitions_rig import EDITOR
from tests.rigs.problems import pointers, problem
from tests.rigs.rest_rig import Rest, address

PASSWORD = "correct horse battery"
SOME: dict[Kind, str] = {
    "user": "alice", "group": "ops", "script": "unused", "template": "text", "producer": "ci", "mapping": "owners",
    "filter": "loud", "consumer": "to-file", "configuration": "main",
}  # fmt: skip
WRITTEN: dict[Kind, dict[str, Any]] = {"user": {"on_leave": True}, "script": {"content": "false"}}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_has_versions_and_goes_back(rest: Rest, kind: Kind) -> None:
    path, admin = address(kind, SOME[kind]), rest.client()
    before = await admin.get(path)
    await admin.patch(path, json=WRITTEN.get(kind, {"title": "Other"}))
    found = (await rest.client("read").get(f"{path}/history")).json()
    assert found["next_cursor"] is None
    assert [item["action"] for item in found["items"]] == ["patch", "create"]
    assert [len(item["changes"]) for item in found["items"]] == [1, 1]
    assert found["items"][1]["changes"][0]["after"] == before.json()
    first = found["items"][1]["version"]
    assert before.headers["etag"] == f'"{first}"'
    back = await admin.post(f"{path}/rollback", json={"version": first})
    assert (back.status_code, back.json()) == (200, before.json())
    assert back.headers["etag"] not in (before.headers["etag"], "")
    page = (await admin.get(f"{path}/history", params={"limit": 1})).json()
    assert page["items"][0]["action"] == "rollback"
    rest_of_it = (await admin.get(f"{path}/history", params={"cursor": page["next_cursor"]})).json()
    assert rest_of_it["items"] == found["items"]


async def test_a_rollback_heeds_the_headers_of_every_write(rest: Rest) -> None:
    path, writer = address("filter", "loud"), rest.client("write")
    first = (await rest.client().get(path)).headers["etag"]
    version = int(first.strip('"'))
    changed = await writer.patch(path, json={"title": "Other"})
    body, key = {"version": version}, {"Idempotency-Key": "once"}
    problem(await writer.post(f"{path}/rollback", json=body, headers={"If-Match": first}), 412)
    done = await writer.post(f"{path}/rollback", json=body, headers={"If-Match": changed.headers["etag"], **key})
    assert done.status_code == 200
    again = await writer.post(f"{path}/rollback", json=body, headers={"If-Match": changed.headers["etag"], **key})
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == done.headers["etag"]


async def test_what_cannot_be_gone_back_to_says_so(rest: Rest) -> None:
    writer, admin = rest.client("write"), rest.client()
    path = address("configuration", "main")
    version = int((await admin.get(path)).headers["etag"].strip('"'))
    await admin.delete(path)
    await admin.delete(address("user", "bob"))
    assert "user/bob" in problem(await writer.post(f"{path}/rollback", json={"version": version}), 409)["detail"]
    gone = (await admin.get(f"{path}/history")).json()["items"][0]["version"]
    for written in ({"version": gone}, {"version": 2**63 - 1}, {"version": 0}, {"version": "x"}, {}):
        assert pointers(await writer.post(f"{path}/rollback", json=written)) == ["/version"]
    problem(await writer.post(f"{address('filter', 'nobody')}/rollback", json={"version": 1}), 404)
    problem(await admin.get(f"{address('filter', 'nobody')}/history"), 404)
    problem(await writer.post(f"{address('script', 'unused')}/rollback", json={"version": 1}), 403)
    problem(await admin.get(f"{path}/history", params={"cursor": "x"}), 422)


async def test_the_audit_log_tells_who_did_what(rest: Rest) -> None:
    admin, writer = rest.client(), rest.client("write")
    await writer.patch(address("producer", "ci"), json={"parameters": {"webhook_secret": SECRET + "2"}})
    token = (await admin.post("/api/v1/tokens", json={"name": "\u2066[red]x", "scopes": ["read"]})).status_code
    assert token == 422  # turns of direction are no printable characters
    made = (await admin.post("/api/v1/tokens", json={"name": "[red]x", "scopes": ["read"]})).json()
    await admin.delete(f"/api/v1/tokens/{made['id']}")
    log = (await admin.get("/api/v1/audit", params={"limit": 3})).json()
    assert [(item["action"], item["kind"], item["name"]) for item in log["items"]] == [
        ("revoke_token", "token", made["id"]),
        ("create_token", "token", made["id"]),
        ("patch", "producer", "ci"),
    ]
    secret = log["items"][2]["changes"][0]
    assert (secret["pointer"], secret["after"]) == ("/parameters/webhook_secret", {"set": True, "changed": True})
    assert log["items"][2]["actor"].startswith("token ")
    mine = await admin.get("/api/v1/audit", params={"actor": log["items"][2]["actor"]})
    assert mine.json()["items"] == log["items"][2:]
    whole = (await admin.get("/api/v1/audit", params={"limit": 500})).text
    assert SECRET not in whole
    assert made["token"] not in whole
    for wrong in ({"kind": "house"}, {"since": "yesterday"}, {"limit": 501}, {"cursor": "-1"}, {"colour": "red"}):
        assert pointers(await admin.get("/api/v1/audit", params=wrong)) == [f"/{next(iter(wrong))}"]


async def test_accounts_are_made_changed_and_removed(rest: Rest) -> None:
    admin = rest.client()
    made = await admin.post("/api/v1/accounts", json={"name": "ada", "password": PASSWORD, "role": "admin"})
    assert made.status_code == 201
    path = made.headers["location"]
    assert path == "/api/v1/accounts/ada"
    account = (await admin.get(path)).json()
    assert account == made.json()
    assert account.keys() == {"name", "role", "team", "created_at", "updated_at"}
    problem(await admin.post("/api/v1/accounts", json={"name": "ada", "password": PASSWORD}), 409)
    assert "last admin" in problem(await admin.delete(path), 409)["detail"]
    assert "last admin" in problem(await admin.patch(path, json={"role": "viewer"}), 409)["detail"]
    eve = await admin.post("/api/v1/accounts", json={"name": "eve", "password": PASSWORD})
    assert eve.json()["role"] == "viewer"
    merge = {"Content-Type": "application/merge-patch+json"}
    patched = await admin.patch("/api/v1/accounts/eve", content=b'{"role": "admin"}', headers=merge)
    assert patched.json()["role"] == "admin"
    page = (await admin.get("/api/v1/accounts", params={"limit": 1})).json()
    assert [item["name"] for item in page["items"]] == ["ada"]
    last = (await admin.get("/api/v1/accounts", params={"cursor": page["next_cursor"]})).json()
    assert ([item["name"] for item in last["items"]], last["next_cursor"]) == (["eve"], None)
    assert (await admin.delete(path)).status_code == 204
    problem(await admin.get(path), 404)
    assert "$argon2" not in (await admin.get("/api/v1/audit", params={"limit": 500})).text


@pytest.mark.parametrize(
    ("written", "pointer"),
    [
        ({"name": "ada", "password": "short"}, "/password"),
        ({"name": "correct horse", "password": PASSWORD}, "/name"),
        ({"name": "correcthorsebattery", "password": "CorrectHorseBattery"}, "/password"),
        ({"name": "ada", "password": PASSWORD, "role": "king"}, "/role"),
        ({"name": "ada", "password": PASSWORD, "color": "red"}, "/color"),
        ({"name": "ada"}, "/password"),
    ],
)
async def test_an_account_that_does_not_fit_is_refused(rest: Rest, written: dict[str, str], pointer: str) -> None:
    answer = await rest.client().post("/api/v1/accounts", json=written)
    assert pointers(answer) == [pointer]
    assert written.get("password", "nothing") not in answer.text


async def test_no_password_is_left_to_be_guessed_from_the_database(rest: Rest) -> None:
    key = {"Idempotency-Key": "account"}
    body = {"name": "ada", "password": PASSWORD}
    first = await rest.client().post("/api/v1/accounts", json=body, headers=key)
    again = await rest.client().post("/api/v1/accounts", json=body, headers=key)
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json() == again.json()
    other = {**body, "password": PASSWORD + "2"}
    problem(await rest.client().post("/api/v1/accounts", json=other, headers=key), 422)
    async with rest.parts.database.read() as session:
        row = await session.scalar(select(IdempotencyRow).where(IdempotencyRow.key == "account"))
    assert row is not None
    seen = await rest.client().build_request("POST", "/api/v1/accounts", json=body).aread()
    what = b"\0".join([b"POST", b"/api/v1/accounts", b"", b"application/json"]) + b"\0" + seen
    assert row.request_hash == rest.parts.seal.mark(what)
    assert PASSWORD not in json.dumps(row.headers) + (row.body or "")


async def test_a_request_is_known_again_under_another_key(rest: Rest) -> None:
    old, new = generate_key(), generate_key()
    headers = [(b"idempotency-key", b"again"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/x", "query_string": b"", "headers": headers}

    async def ask(seal: Seal, body: bytes = b"{}") -> Response:
        async def act(_: object) -> Response:
            return Response("made once", 201)

        return await once(replace(rest.parts, seal=seal), Request(scope), EDITOR, body, act)

    assert "idempotency-replayed" not in (await ask(Seal(old))).headers
    for _ in range(2):  # before a rotation and after it, by the key that it is marked with and by the new one alone
        assert (await ask(Seal(new, old))).headers["idempotency-replayed"] == "true"
        with pytest.raises(Problem, match="another request"):
            await ask(Seal(new, old), b'{"other": 1}')
        await rotate(rest.parts.database, rest.parts.registry, Seal(new, old))
    assert (await ask(Seal(new))).headers["idempotency-replayed"] == "true"
