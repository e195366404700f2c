"""Tokens: made, used, listed and revoked, by REST and by the command line."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE, Actor, Scope
from control_api.models import AuditRow, ChangeRow, DefinitionRow, TokenRow
from notifier.database import SQLITE_FILE, Database
from notifier.errors import Forbidden, InputError, UnknownName
from notifier.record import JsonObject, now
from notifier.settings import Settings
from tests.rigs.api_rig import Api, client
from tests.rigs.kafka_tools import wait_until
from tests.rigs.problems import pointers, problem

pytest_plugins = ["tests.rigs.databases"]


async def test_a_token_with_a_changed_secret_is_refused(api: Api) -> None:
    token = api.tokens["read"]
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    async with client(api.url, other) as asking:
        problem(await asking.get("/api/v1/plugins"), 401)


async def test_a_token_is_made_shown_once_used_and_revoked_at_once(api: Api) -> None:
    async with api.client() as admin:
        made = await admin.post("/api/v1/tokens", json={"name": "deploy", "scopes": ["push", "read"]})
        assert made.status_code == 201
        token = made.json()
        assert made.headers["location"] == f"/api/v1/tokens/{token['id']}"
        shown = (await admin.get(made.headers["location"])).json()
        assert "token" not in shown
        assert shown["scopes"] == ["read", "push"]
        assert shown["last_used_at"] is None
        async with client(api.url, token["token"]) as deploy:
            assert (await deploy.get("/api/v1/plugins")).status_code == 200
            shown = (await admin.get(made.headers["location"])).json()
            assert shown["last_used_at"] is not None
            listed = await admin.get("/api/v1/tokens")
            assert token["id"] in {one["id"] for one in listed.json()["items"]}
            assert token["token"] not in listed.text
            assert (await admin.delete(made.headers["location"])).status_code == 204
            problem(await deploy.get("/api/v1/plugins"), 401)
            assert (await admin.delete(made.headers["location"])).status_code == 204
    secret = token["token"].split("_", 2)[2]
    assert secret.encode() not in (api.settings.data_dir / SQLITE_FILE).read_bytes()


async def test_an_expired_token_is_refused(api: Api) -> None:
    token = await tokens.create_token(
        api.settings, name="short", scopes=["read"], expires_at=now() + timedelta(hours=1)
    )
    async with client(api.url, token) as asking:
        assert (await asking.get("/api/v1/plugins")).status_code == 200
        database = Database(api.settings)
        async with database.write() as session:
            past = now() - timedelta(seconds=1)
            await session.execute(update(TokenRow).where(TokenRow.name == "short").values(expires_at=past))
        await database.close()

        async def refused() -> bool:
            return (await asking.get("/api/v1/plugins")).status_code == 401

        await wait_until(refused)  # what others change is noticed within `KEPT_S`
        problem(await asking.get("/api/v1/plugins"), 401)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": ["read"]}, "/name"),
        ({"name": "", "scopes": ["read"]}, "/name"),
        ({"name": "a\nb", "scopes": ["read"]}, "/name"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x"}, "/scopes"),
        ({"name": "x", "scopes": ["read", "root"]}, "/scopes/1"),
        ({"name": "x", "scopes": ["push"], "producer": "nobody"}, "/producer"),
        ({"name": "x", "scopes": ["push"], "producer": "No Name"}, "/producer"),
        ({"name": "x", "scopes": ["push", "read"], "producer": "ci"}, "/scopes"),
        ({"name": "x", "scopes": ["read"], "id": "mine"}, "/id"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
    ],
)
async def test_a_token_that_does_not_fit_names_the_field(api: Api, body: JsonObject, pointer: str) -> None:
    async with api.client() as admin:
        assert pointers(await admin.post("/api/v1/tokens", json=body)) == [pointer]


async def test_a_token_of_one_producer_hands_over_nothing_else(api: Api) -> None:
    async with api.client() as admin:
        made = (await admin.post("/api/v1/tokens", json={"name": "build", "producer": "ci"})).json()
        assert (made["scopes"], made["producer"]) == (["push"], "ci")
        query = "query($id: String!) { token(id: $id) { producer scopes } }"
        asked = await admin.post("/graphql", json={"query": query, "variables": {"id": made["id"]}})
        assert asked.json()["data"]["token"] == {"producer": "ci", "scopes": ["push"]}
        audit = (await admin.get("/api/v1/audit", params={"kind": "token", "limit": 1})).json()["items"][0]
        assert "ci" in str(audit)
    async with client(api.url, made["token"]) as build:
        assert (await build.post("/api/v1/messages", json={"producer": "ci", "content": "x"})).status_code == 202
        refused = await build.post("/api/v1/messages", json={"producer": "reviews", "content": "x"})
        problem(refused, 403)
        assert "'ci' alone" in refused.json()["detail"]
        assert (await build.post("/hooks/json/ci", json={})).status_code == 202
        problem(await build.post("/hooks/json/reviews", json={}), 403)
        problem(await build.get("/api/v1/producers"), 403)


async def test_a_producer_that_is_hidden_is_not_there_for_a_token(database: Database) -> None:
    at = now()
    async with database.write() as session:
        change = ChangeRow(at=at, actor="cli", summary="apply")
        session.add(change)
        await session.flush()
        session.add(
            DefinitionRow(
                kind="producer", name="theirs", name_key="theirs", spec={}, team="blue", revision=change.revision,
                created_at=at, updated_at=at, changed_by="cli",
            )
        )  # fmt: skip
    red = Actor("red", frozenset[Scope]({"admin"}), "red", strict=True)
    new = tokens.NewToken(name="x", producer="theirs")
    async with database.write() as session:
        with pytest.raises(InputError) as refused:
            await tokens.mint(session, red, new)
        assert refused.value.errors[0].pointer == "/producer"
        token, _ = await tokens.mint(session, COMMAND_LINE, new)
    assert (token.scopes, token.producer, token.actor.producer) == (("push",), "theirs", "theirs")


async def test_nobody_mints_more_than_they_have(database: Database) -> None:
    reader = Actor("reader", frozenset[Scope]({"read", "push"}))
    async with database.write() as session:
        await tokens.mint(session, reader, tokens.NewToken(name="mine", scopes=["read"]))
        with pytest.raises(Forbidden) as refused:
            await tokens.mint(session, reader, tokens.NewToken(name="more", scopes=["read", "admin"]))
    assert refused.value.scope == "admin"


async def test_the_command_line_makes_lists_and_revokes_tokens(database_settings: Settings) -> None:
    settings = database_settings
    token = await tokens.create_token(settings, name="ci", scopes=("push",))
    await tokens.create_token(settings, name="ci", scopes=("read",))
    assert re.fullmatch(r"ntf_[0-9a-f]{16}_[\w-]{43}", token)
    listed = await tokens.list_tokens(settings)
    assert {(one.name, one.scopes, one.revoked_at) for one in listed} == {
        ("ci", ("push",), None),
        ("ci", ("read",), None),
    }
    database = Database(settings)
    assert (await tokens.authenticate(database, tokens.known_tokens(database), token)) is not None
    assert await tokens.revoke_token(settings, token.split("_")[1]) == 1
    assert (await tokens.authenticate(database, tokens.known_tokens(database), token)) is None
    assert await tokens.revoke_token(settings, "ci") == 1  # the other one
    assert await tokens.revoke_token(settings, "ci") == 0
    with pytest.raises(UnknownName):
        await tokens.revoke_token(settings, "nobody")
    async with database.read() as session:
        audit = [(row.action, row.actor) for row in await session.scalars(select(AuditRow).order_by(AuditRow.id))]
    assert audit == [("create_token", "cli")] * 2 + [("revoke_token", "cli")] * 2
    await database.close()
