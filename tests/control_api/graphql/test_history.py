"""Versions, the audit log and accounts by GraphQL, which say what REST says."""

import pytest

from notifier.record import JsonObject
from tests.rigs.graphql_api import Api

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse battery"


async def _rest(api: Api, path: str) -> list[JsonObject]:
    async with api.client() as asking:
        items: list[JsonObject] = (await asking.get(f"/api/v1/{path}")).json()["items"]
    return items


async def test_a_definition_has_versions_and_goes_back(own: Api) -> None:
    changed = await own.data('mutation { updateUser(username: "alice", input: {onLeave: true}) { user { etag } } }')
    changes = "changes { op pointer before after }"
    query = f'{{ userHistory(username: "alice") {{ items {{ version at actor action {changes} }} nextCursor }} }}'
    found = (await own.data(query, "read"))["userHistory"]
    assert found == {"items": await _rest(own, "users/alice/history"), "nextCursor": None}
    back = "mutation($version: Int!, $tag: String) { rollbackUser(username: $name, version: $version, ifMatch: $tag) { x } }"
    back = back.replace("$name", '"alice"').replace("x", "user { onLeave } errors { field }")
    first = found["items"][-1]["version"]
    assert await own.refused(back, "write", version=first, tag='"1"') == "STALE_VERSION"
    done = await own.data(back, "write", version=first, tag=changed["updateUser"]["user"]["etag"])
    assert done["rollbackUser"] == {"user": {"onLeave": False}, "errors": []}
    none = await own.data(back, "write", version=2**31 - 1)
    assert none["rollbackUser"] == {"user": None, "errors": [{"field": "version"}]}
    assert await own.refused('{ userHistory(username: "nobody") { nextCursor } }') == "NOT_FOUND"
    assert await own.refused('{ userHistory(username: "alice", limit: 0) { nextCursor } }') == "INVALID_INPUT"


async def test_the_audit_log_is_read(own: Api) -> None:
    items = "items { id at actor action kind name version changes { op pointer before after } } nextCursor"
    found = (await own.data(f'{{ audit(kind: "user", limit: 1) {{ {items} }} }}'))["audit"]
    assert found["items"] == await _rest(own, "audit?kind=user&limit=1")
    assert found["nextCursor"]
    assert await own.refused('{ audit(since: "yesterday") { nextCursor } }') == "INVALID_INPUT"


async def test_changes_count_by_their_size(own: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_api.graphql.history_fields._OBJECT_BYTES", 0.01)
    assert await own.refused("{ audit(limit: 1) { nextCursor } }") == "TOO_COMPLEX"


async def test_accounts_are_kept(own: Api) -> None:
    create = """mutation($name: String!, $password: String!, $role: String) {
      createAccount(name: $name, password: $password, role: $role) { account { name role createdAt } errors { field } }
    }"""
    made = (await own.data(create, name="ada", password=PASSWORD, role="admin"))["createAccount"]
    assert made["account"]["role"] == "admin"
    short = (await own.data(create, name="eve", password="short"))["createAccount"]
    assert short == {"account": None, "errors": [{"field": "password"}]}
    assert await own.refused(create, name="ada", password=PASSWORD) == "CONFLICT"
    demote = 'mutation { updateAccount(name: "ada", role: "viewer") { account { role } errors { field } } }'
    assert await own.refused(demote) == "CONFLICT"
    assert (await own.data(create, name="eve", password=PASSWORD, role="admin"))["createAccount"]["errors"] == []
    assert (await own.data(demote))["updateAccount"] == {"account": {"role": "viewer"}, "errors": []}
    king = await own.data('mutation { updateAccount(name: "eve", role: "king") { errors { field } } }')
    assert king["updateAccount"]["errors"] == [{"field": "role"}]
    page = (await own.data("{ accounts(limit: 1) { items { name role createdAt updatedAt } nextCursor } }"))["accounts"]
    assert [(one["name"], one["role"]) for one in page["items"]] == [("ada", "viewer")]
    after = "query($cursor: String) { accounts(cursor: $cursor) { items { name } nextCursor } }"
    rest = (await own.data(after, cursor=page["nextCursor"]))["accounts"]
    assert rest == {"items": [{"name": "eve"}], "nextCursor": None}
    assert (await own.data('{ account(name: "eve") { role } }'))["account"] == {"role": "admin"}
    gone = await own.data('mutation { deleteAccount(name: "ada") { name errors { field } } }')
    assert gone["deleteAccount"] == {"name": "ada", "errors": []}
    assert await own.refused('{ account(name: "ada") { role } }') == "NOT_FOUND"
