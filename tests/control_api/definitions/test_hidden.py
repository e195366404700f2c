"""What is hidden from an actor of a team, on both databases: of stored, deleted and moved definitions."""

import pytest

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE, Actor
from control_api.access.teams import hidden_from
from control_api.definitions.audit import AuditQuery, audit
from control_api.definitions.services import Services
from control_api.definitions.versions import Rollback, history, rollback
from control_api.page_query import PageQuery
from notifier.database import Database
from notifier.errors import InputError, UnknownName
from notifier.outcome import Kind
from tests.rigs.definitions_rig import FILTER, REGISTRY

pytest_plugins = ["tests.rigs.databases"]

RED = Actor("red", frozenset(["admin"]), "red", strict=True)


async def test_a_definition_is_of_the_team_that_has_it_or_had_it_last(services: Services, store: Database) -> None:
    async def make(name: str, *teams: str | None, deleted: bool = False) -> None:
        """A group that these teams had, one after another."""
        await services.create(COMMAND_LINE, "group", {"name": name, "team": teams[0]})
        for team in teams[1:]:
            await services.patch(COMMAND_LINE, "group", name, {"team": team})
        if deleted:
            await services.delete(COMMAND_LINE, "group", name)

    await make("red", "red")
    await make("blue", "blue")
    await make("common", None)
    await make("from-blue", "blue", "red")
    await make("to-blue", "red", "blue")
    await make("freed", "blue", None)
    await make("gone-red", "blue", "red", deleted=True)
    await make("gone-blue", "red", "blue", deleted=True)
    await make("gone-common", "blue", None, deleted=True)
    await make("again", "blue", deleted=True)
    await make("again", "red")
    await make("other", "red", deleted=True)
    await make("other", "blue")
    await services.create(COMMAND_LINE, "user", {"username": "red", "team": "blue"})
    async with store.write() as session:
        theirs, _ = await tokens.mint(session, COMMAND_LINE, tokens.NewToken(name="x", scopes=["read"], team="blue"))
        ours, _ = await tokens.mint(session, COMMAND_LINE, tokens.NewToken(name="x", scopes=["read"], team="red"))

    kind: Kind = "group"
    async with store.read() as session:
        hidden = await hidden_from(session, RED)
        everything, _ = await audit(session, COMMAND_LINE, AuditQuery(limit=500), REGISTRY)
        seen, _ = await audit(session, RED, AuditQuery(limit=500), REGISTRY)
        for name in {one["name"] for one in everything if one["kind"] == kind}:
            if name in hidden.of(kind):
                with pytest.raises(UnknownName):
                    await history(session, RED, kind, name, PageQuery(limit=10), REGISTRY)
            else:
                assert (await history(session, RED, kind, name, PageQuery(limit=10), REGISTRY))[0]
        assert not (await hidden_from(session, COMMAND_LINE)).names
    assert hidden.names == {"group": {"blue", "to-blue", "gone-blue", "other"}, "user": {"red"}}
    shown = {(one["kind"], one["name"]) for one in seen}
    assert {(one["kind"], one["name"]) for one in everything} - shown == {
        ("token", theirs.id),
        ("user", "red"),
        *(("group", name) for name in hidden.of("group")),
    }
    assert ("token", ours.id) in shown


async def test_what_a_name_was_under_another_team_is_not_shown(services: Services, store: Database) -> None:
    blue = Actor("blue", frozenset(["admin"]), "blue", strict=True)
    theirs = await services.create(blue, "filter", {**FILTER, "title": "plan of blue"})
    await services.delete(blue, "filter", "short")
    ours = await services.create(RED, "filter", FILTER)
    await services.patch(COMMAND_LINE, "filter", "short", {"team": None})
    async with store.read() as session:
        versions, _ = await history(session, RED, "filter", "short", PageQuery(), REGISTRY)
        log, _ = await audit(session, RED, AuditQuery(kind="filter"), REGISTRY)
        everything, _ = await history(session, COMMAND_LINE, "filter", "short", PageQuery(), REGISTRY)
    assert [one["action"] for one in versions] == [one["action"] for one in log] == ["patch", "create"]
    assert "plan of blue" not in str([versions, log])
    assert len(everything) == 4
    with pytest.raises(InputError, match=rf"is none of its versions.* \d+, {ours.revision}$"):
        await rollback(store, services, RED, Rollback(kind="filter", name="short", version=theirs.revision))
