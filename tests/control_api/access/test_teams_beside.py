"""Teams where definitions are read and written otherwise: versions, the audit log, accounts, bulk, explanations, dry runs."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert

from control_api.access.actor import Actor
from control_api.definitions.audit import AuditQuery, audit
from control_api.definitions.spec import name_field
from control_api.definitions.versions import history
from control_api.models import DryRunRow
from control_api.page_query import PageQuery
from notifier.errors import UnknownName
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject, now
from tests.rigs.problems import problem
from tests.rigs.teams_rig import TEAMS, WRITTEN, Caller, Teams, name_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILTER = {"type": "severity", "parameters": {"at_least": "error"}}
PASSWORD = "correct horse battery staple"


def _expected(teams: Teams, caller: Caller, owner: str | None, scope: Any, *, done: int, changes: bool) -> int:
    """What an answer must be; `done` where the caller may do it."""
    if not caller.may(scope):
        return 403
    if teams.strict and caller.is_kept_out(owner):
        return 404
    return 403 if changes and caller.is_kept_out(owner) else done


async def _graphql(asking: Any, query: str) -> int:
    answer = (await asking.post("/graphql", json={"query": query})).json()
    return next((error["extensions"]["status"] for error in answer.get("errors", ())), 200)


@pytest.mark.parametrize("kind", KINDS)
async def test_versions_are_open_as_their_definition_is(teams: Teams, kind: Kind) -> None:
    word, key = kind.capitalize(), name_field(kind)
    for caller in teams.callers if kind == "filter" else teams.some():
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                name = name_of(owner)
                path = f"/api/v1/{kind}s/{name}"
                expected = _expected(teams, caller, owner, "read", done=200, changes=False)
                assert (await asking.get(f"{path}/history")).status_code == expected, (caller.name, owner)
                query = f'{{ {kind}History({key}: "{name}") {{ items {{ version }} }} }}'
                assert await _graphql(asking, query) == expected, (caller.name, owner)
                scope = "admin" if kind == "script" else "write"
                expected = _expected(teams, caller, owner, scope, done=422, changes=True)
                answer = await asking.post(f"{path}/rollback", json={"version": 999_999})
                assert answer.status_code == expected, (caller.name, owner, answer.text)
                query = f'mutation {{ rollback{word}({key}: "{name}", version: 999999) {{ errors {{ field }} }} }}'
                assert await _graphql(asking, query) == (200 if expected == 422 else expected), (caller.name, owner)


async def test_a_deleted_definition_stays_with_the_team_that_had_it(teams: Teams) -> None:
    services, boss = teams.services, _actor(None, teams)
    made = await services.create(_actor("blue", teams), "filter", {"name": "gone", **FILTER})
    await services.delete(boss, "filter", "gone")
    red, blue = teams.one("admin red"), teams.one("editor blue")
    async with teams.client(red) as asking:
        answers = [await asking.get("/api/v1/filters/gone/history")]
        answers.append(await asking.post("/api/v1/filters/gone/rollback", json={"version": made.revision}))
        assert [one.status_code for one in answers] == ([404, 404] if teams.strict else [200, 403])
        assert "gone" not in await _audited(teams, red) if teams.strict else "gone" in await _audited(teams, red)
    async with teams.client(blue) as asking:
        back = await asking.post("/api/v1/filters/gone/rollback", json={"version": made.revision})
        assert (back.status_code, back.json()["team"]) == (200, "blue")
    # Moved, it is the other team's with all that it was.
    await services.patch(boss, "filter", "gone", {"team": "red"})
    async with teams.client(blue) as asking:
        assert (await asking.get("/api/v1/filters/gone/history")).status_code == (404 if teams.strict else 200)
        problem(
            await asking.post("/api/v1/filters/gone/rollback", json={"version": made.revision}),
            404 if teams.strict else 403,
        )
    async with teams.client(red) as asking:
        assert (await asking.get("/api/v1/filters/gone/history")).status_code == 200
        # That version was the other team's: going back would give it away; and where teams are strict it is not there.
        problem(
            await asking.post("/api/v1/filters/gone/rollback", json={"version": made.revision}),
            422 if teams.strict else 403,
        )
    await services.delete(boss, "filter", "gone")
    async with teams.app.state.parts.database.read() as session:
        assert (
            await history(session, _actor("red", teams), "filter", "gone", PageQuery(limit=10), teams.services.registry)
        )[0]
        if teams.strict:
            with pytest.raises(UnknownName):
                await history(
                    session, _actor("blue", teams), "filter", "gone", PageQuery(limit=10), teams.services.registry
                )


def _actor(team: str | None, teams: Teams) -> Actor:
    return Actor("somebody", frozenset(["admin"]), team, teams.strict)


async def _audited(teams: Teams, caller: Caller) -> set[str]:
    async with teams.client(caller) as asking:
        return {one["name"] for one in (await asking.get("/api/v1/audit?limit=500")).json()["items"]}


async def test_the_audit_log_shows_an_admin_of_a_team_what_is_shown_elsewhere(teams: Teams) -> None:
    boss, red = teams.one("admin -"), teams.one("admin red")
    async with teams.client(boss) as asking:
        tokens = [
            (await asking.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"], "team": team})).json()["id"]
            for team in ("blue", "red")
        ]
        for team in ("blue", "red"):
            body = {"name": f"audited-{team}", "password": PASSWORD, "team": team}
            assert (await asking.post("/api/v1/accounts", json=body)).status_code == 201
    all_names = await _audited(teams, boss)
    assert all_names >= {"red", "blue", "common", *tokens, "audited-blue", "audited-red"}
    found = await _audited(teams, red)
    hidden = {"blue", tokens[0], "audited-blue"}
    assert found & hidden == (set() if teams.strict else hidden)
    assert found >= {"red", "common", tokens[1], "audited-red"}
    query = "{ audit(limit: 500) { items { name } } }"
    async with teams.client(red) as asking:
        data = (await asking.post("/graphql", json={"query": query})).json()["data"]
        assert {one["name"] for one in data["audit"]["items"]} == found
    async with teams.app.state.parts.database.read() as session:
        items, _ = await audit(session, _actor("red", teams), AuditQuery(kind="group"), teams.services.registry)
    assert {one["name"] for one in items} >= {"red", "common"}
    for caller in teams.callers:
        async with teams.client(caller) as asking:
            assert (await asking.get("/api/v1/audit")).status_code == (200 if caller.may("admin") else 403)


async def test_accounts_are_made_changed_and_ended_within_a_team(teams: Teams) -> None:
    async with teams.client(teams.one("admin -")) as above:
        for owner in TEAMS:
            body = {"name": f"of-{name_of(owner)}", "password": PASSWORD, "team": owner}
            made = await above.post("/api/v1/accounts", json=body)
            assert (made.status_code, made.json()["team"]) == (201, owner)
    for caller in teams.callers:
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                path, name = f"/api/v1/accounts/of-{name_of(owner)}", f"of-{name_of(owner)}"
                hidden = teams.strict and caller.is_kept_out(owner)
                seen = 403 if not caller.may("admin") else 404 if hidden else 200
                assert (await asking.get(path)).status_code == seen, (caller.name, owner)
                assert await _graphql(asking, f'{{ account(name: "{name}") {{ team }} }}') == seen
                # One of no team may do more than a team's admin, who therefore cannot change it.
                own = caller.team in (None, owner)
                changed = seen if seen != 200 else 200 if own else 403
                answer = await asking.patch(path, json={"role": "viewer"})
                assert answer.status_code == changed, (caller.name, owner, answer.text)
                assert (await asking.patch(path, json={"password": PASSWORD + "!"})).status_code == changed
                query = f'mutation {{ updateAccount(name: "{name}", role: "viewer") {{ account {{ team }} }} }}'
                assert await _graphql(asking, query) == changed
                if changed != 200:
                    assert (await asking.delete(path)).status_code == changed
                    query = f'mutation {{ deleteAccount(name: "{name}") {{ name }} }}'
                    assert await _graphql(asking, query) == changed
    async with teams.client(teams.one("admin red")) as asking:
        made = await asking.post("/api/v1/accounts", json={"name": "new-red", "password": PASSWORD, "role": "admin"})
        assert (made.status_code, made.json()["team"]) == (201, "red")
        other = {"name": "no", "password": PASSWORD, "team": "blue"}
        problem(await asking.post("/api/v1/accounts", json=other), 403)
        problem(await asking.patch("/api/v1/accounts/new-red", json={"team": "blue"}), 403)
        for team in ("red", None):  # null: it stays, where a team's admin writes
            assert (await asking.patch("/api/v1/accounts/new-red", json={"team": team})).json()["team"] == "red"
        problem(await asking.post("/api/v1/accounts", json={"name": "n", "password": PASSWORD, "team": "No Team"}), 422)
        assert (await asking.delete("/api/v1/accounts/new-red")).status_code == 204
        listed = {one["name"] for one in (await asking.get("/api/v1/accounts?limit=500")).json()["items"]}
        assert {"of-red", "of-common"} <= listed
        assert ("of-blue" in listed) is not teams.strict
    async with teams.client(teams.one("admin -")) as above:
        moved = await above.patch("/api/v1/accounts/of-red", json={"team": None})
        assert (moved.status_code, moved.json()["team"]) == (200, None)
        # The rig has one admin without team: the admins of teams do not stand for it.
        for change in ({"role": "viewer"}, {"team": "red"}):
            detail = problem(await above.patch("/api/v1/accounts/admin-none", json=change), 409)["detail"]
            assert "the last admin without team" in detail
        problem(await above.delete("/api/v1/accounts/admin-none"), 409)
        for owner in TEAMS:
            assert (await above.delete(f"/api/v1/accounts/of-{name_of(owner)}")).status_code == 204


async def test_bulk_changes_what_the_team_may(teams: Teams) -> None:
    title = {"title": "By bulk"}
    for caller in teams.callers:
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                document = {"name": name_of(owner), "team": owner, **FILTER}
                for change, allowed in (({}, 200), (title, 403)):
                    answer = await asking.post(
                        "/api/v1/definitions?dry_run=true", json={"filters": [{**document, **change}]}
                    )
                    expected = 403 if not caller.may("write") else 200
                    if expected == 200 and caller.is_kept_out(owner):
                        expected = 403 if teams.strict else allowed  # hidden, it would be a new one of another team
                    assert answer.status_code == expected, (caller.name, owner, answer.text)
    red, blue = teams.one("admin red"), teams.one("editor blue")
    async with teams.client(red) as asking:
        mine = {"filters": [{"name": "bulk-a", **FILTER}, {"name": "bulk-b", **FILTER}]}
        made = (await asking.post("/api/v1/definitions", json=mine)).json()
        assert made["created"] == 2
        assert (await asking.get("/api/v1/filters/bulk-a")).json()["team"] == "red"
        same = (await asking.post("/api/v1/definitions", json=mine)).json()
        assert (same["unchanged"], same["revision"]) == (2, None)  # the team that is left out stays
        problem(
            await asking.post("/api/v1/definitions", json={"filters": [{**mine["filters"][0], "team": "blue"}]}), 403
        )
        # Pruned is what the team has, and neither what others have nor what nobody has.
        plan = (await asking.post("/api/v1/definitions?dry_run=true&prune=true", json=_red())).json()
        gone = {(one["kind"], one["name"]) for one in plan["changes"] if one["action"] == "deleted"}
        assert {("filter", "bulk-a"), ("filter", "bulk-b")} <= gone
        assert not {name for _, name in gone} & {"blue", "common"}
        for name in ("bulk-a", "bulk-b"):
            assert (await asking.delete(f"/api/v1/filters/{name}")).status_code == 204
    async with teams.client(blue) as asking:
        await teams.services.create(_actor("red", teams), "filter", {"name": "bulk-a", **FILTER})
        answer = await asking.post("/api/v1/definitions", json={"filters": [{"name": "bulk-a", **FILTER, **title}]})
        assert answer.status_code == (409 if teams.strict else 403)  # that a name is taken can be seen
    await teams.services.delete(_actor("red", teams), "filter", "bulk-a")


def _red() -> JsonObject:
    """The definitions of the team red but for its script, which needs `admin`, as bulk takes them."""
    return {f"{kind}s": [{name_field(kind): "red", "team": "red", **WRITTEN[kind]}] for kind in KINDS}


WATCHED = {"producers": ["common"], "users": ["red", "blue", "common"]}


async def test_an_explanation_says_nothing_of_what_is_hidden(teams: Teams) -> None:
    boss = _actor(None, teams)
    for owner in TEAMS:
        await teams.services.create(
            boss, "configuration", {"name": f"watch-{name_of(owner)}", "team": owner, **WATCHED}
        )
    message = {"producer": "common", "content": "x"}
    for caller in teams.callers:
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                path = f"/api/v1/configurations/watch-{name_of(owner)}/explain"
                answer = await asking.post(path, json={"message": message})
                expected = _expected(teams, caller, owner, "read", done=200, changes=False)
                assert answer.status_code == expected, (caller.name, owner, answer.text)
            if not caller.may("read"):
                continue
            alone = teams.strict and caller.team is not None
            seen = {name_of(owner) for owner in TEAMS if not (alone and caller.is_kept_out(owner))}
            whole = (await asking.post("/api/v1/explain", json={"message": message})).json()
            assert {one["configuration"] for one in whole["configurations"]} == {f"watch-{name}" for name in seen}
            for one in whole["configurations"]:
                assert {part["recipient"] for part in one["recipients"]} == seen, caller.name
            query = '{ explain(message: {producer: "common", content: "x"}) { configurations { configuration } } }'
            data = (await asking.post("/graphql", json={"query": query})).json()["data"]
            assert {one["configuration"] for one in data["explain"]["configurations"]} == {
                f"watch-{name}" for name in seen
            }
            if not alone:
                continue
            (other,) = {"red", "blue"} - seen
            words = str({**whole, "message": None}).lower()
            assert f"watch-{other}" not in words
            assert f"{other} " not in words
            for body, pointer in (
                ({"message": message, "receiver": other}, "/receiver"),
                ({"message": message, "configuration": f"watch-{other}"}, "/configuration"),
                ({"message": message, "configuration": "new", "draft": {"users": [other]}}, "/draft/users/0"),
                (
                    {"message": message, "configuration": "new", "draft": {"users": [f"group:{other}"]}},
                    "/draft/users/0",
                ),
                ({"message": message, "configuration": "new", "draft": {"filters": [other]}}, "/draft/filters/0"),
            ):
                errors = problem(await asking.post("/api/v1/explain", json=body), 422)["errors"]
                assert [error["pointer"] for error in errors] == [pointer], (caller.name, body)
            problem(
                await asking.post(
                    f"/api/v1/configurations/watch-{other}/explain",
                    json={"message": message, "draft": WATCHED | {"users": []}},
                ),
                404,
            )
            problem(await asking.post("/api/v1/explain", json={"producer": other, "id": "1"}), 404)
            said = await asking.post("/api/v1/explain", json={"message": {**message, "producer": other}})
            assert (said.json()["reason"], said.json()["configurations"]) == ("unknown_producer", [])
            addressed = {**message, "configuration": f"watch-{other}"}
            said = await asking.post("/api/v1/explain", json={"message": addressed})
            assert (said.json()["reason"], said.json()["configurations"]) == ("unknown_configuration", [])
    for owner in TEAMS:
        await teams.services.delete(boss, "configuration", f"watch-{name_of(owner)}")


async def test_the_preview_of_a_payload_is_open_as_its_producer_is(teams: Teams) -> None:
    asked = {"payload": {"text": "it failed"}, "mapping": {"content": "text", "title": "header('x-event')"}}
    answered = {"messages": [{"content": "it failed"}], "problems": ["message 1: title: finds nothing"], "omitted": 0}
    for caller in teams.some():
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                name = name_of(owner)
                expected = _expected(teams, caller, owner, "read", done=200, changes=False)
                answer = await asking.post(f"/api/v1/producers/{name}/preview", json=asked)
                assert answer.status_code == expected, (caller.name, owner, answer.text)
                query = (
                    f'{{ producerPreview(name: "{name}", payload: {{text: "it failed"}},'
                    ' mapping: {content: "text", title: "header(\'x-event\')"}) { messages problems omitted } }'
                )
                assert await _graphql(asking, query) == expected, (caller.name, owner)
                if expected == 200:
                    shown = {**answered, "messages": [{"producer": name, "content": "it failed"}]}
                    assert answer.json() == shown
                    found = (await asking.post("/graphql", json={"query": query})).json()["data"]["producerPreview"]
                    assert found == shown
            path = "/api/v1/producers/common/preview"
            if caller.may("read"):
                for body, place in (
                    ({}, "/payload"),
                    ({**asked, "mapping": {"content": "a..b"}}, "/mapping/content"),
                    ({**asked, "mapping": "nagios"}, "/mapping"),
                    ({**asked, "headers": {"a": 1}}, "/headers/a"),
                    ({**asked, "more": 1}, "/more"),
                ):
                    refused = problem(await asking.post(path, json=body), 422)
                    assert [error["pointer"] for error in refused["errors"]] == [place]


async def test_a_preview_says_nothing_of_what_is_hidden(teams: Teams) -> None:
    boss = _actor(None, teams)
    for owner in TEAMS:
        document = {**WATCHED, "name": f"watch-{name_of(owner)}", "team": owner, "consumers": ["red", "blue", "common"]}
        await teams.services.create(boss, "configuration", document)
    message = {"producer": "common", "content": "x"}
    for caller in teams.some():
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                path = f"/api/v1/configurations/watch-{name_of(owner)}/preview"
                answer = await asking.post(path, json={"message": message})
                expected = _expected(teams, caller, owner, "read", done=200, changes=False)
                assert answer.status_code == expected, (caller.name, owner, answer.text)
            if not caller.may("read"):
                continue
            alone = teams.strict and caller.team is not None
            seen = {name_of(owner) for owner in TEAMS if not (alone and caller.is_kept_out(owner))}
            path = "/api/v1/configurations/watch-common/preview"
            for text in (found := (await asking.post(path, json={"message": message})).json())["texts"]:
                assert set(text["recipients"]) == seen, caller.name
            assert {text["consumer"] for text in found["texts"]} == seen
            query = '{ preview(configuration: "watch-common", message: {content: "x"}) { message texts { consumer parts } } }'
            data = (await asking.post("/graphql", json={"query": query})).json()["data"]["preview"]
            assert data["message"]["producer"] == "common"
            assert data["texts"] == [{"consumer": one["consumer"], "parts": one["parts"]} for one in found["texts"]]
            if not alone:
                continue
            (other,) = {"red", "blue"} - seen
            draft = {**WATCHED, "users": [], "template": f'{{% include "{other}" %}}'}
            refused = problem(await asking.post(path, json={"message": message, "draft": draft}), 422)
            assert [error["pointer"] for error in refused["errors"]] == ["/draft/template"]
            problem(await asking.post(path, json={"producer": other, "id": "1"}), 404)
            said = (await asking.post(path, json={"message": {**message, "producer": other}})).json()
            assert (said["problem"], said["texts"]) == (f"there is no producer {other!r}", [])
            said = (await asking.post(path, json={"message": {**message, "receiver": other}})).json()
            assert said["texts"] == []
    for owner in TEAMS:
        await teams.services.delete(boss, "configuration", f"watch-{name_of(owner)}")


def _dry_run(id_: str, configuration: str, **more: Any) -> JsonObject:
    at = now()
    samples = [
        {
            "producer": producer,
            "message": "1",
            "at": "2026-11-28T00:00:00Z",
            "text": "x",
            "consumer": "chat",
            "why": "y",
        }
        | ({} if recipient is None else {"recipient": recipient})
        for producer in ("red", "blue", "common")
        for recipient in ("red", "blue", None)
    ]
    row: JsonObject = {
        "id": id_,
        "configuration": configuration,
        "draft": None,
        "since": at,
        "until": at,
        "actor": "somebody",
    }
    row |= {"state": "done", "error": None, "report": {}, "samples": {"added": samples, "dropped": []}}
    return row | {"created_at": at, "alive_at": at, "ended_at": at} | more


async def test_dry_runs_are_open_as_their_configuration_is(teams: Teams) -> None:
    ids = {owner: f"00000000-0000-7000-8000-00000000000{place}" for place, owner in enumerate(TEAMS)}
    drafts = {owner: f"00000000-0000-7000-8000-00000000001{place}" for place, owner in enumerate(TEAMS)}
    rows = [_dry_run(id_, name_of(owner)) for owner, id_ in ids.items()]
    rows += [_dry_run(id_, "unborn", draft={"team": owner} if owner else {}) for owner, id_ in drafts.items()]
    # As many as may be at work, so that none begins; alive however long this takes.
    later = now() + timedelta(days=1)
    busy = [f"00000000-0000-7000-8000-00000000002{place}" for place in range(2)]
    rows += [_dry_run(id_, "common", state="running", ended_at=None, alive_at=later) for id_ in busy]
    async with teams.app.state.parts.database.write() as session:
        await session.execute(insert(DryRunRow), rows)
    for caller in teams.callers:
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                path, draft = (
                    f"/api/v1/configurations/{name_of(owner)}/dry_run",
                    {"draft": {"title": "X", "team": owner}},
                )
                begun = _expected(teams, caller, owner, "run", done=409, changes=False)
                assert (await asking.post(path, json={})).status_code == begun, (caller.name, owner)
                drafted = _expected(teams, caller, owner, "run", done=409, changes=True)
                assert (await asking.post(path, json=draft)).status_code == drafted, (caller.name, owner)
                query = f'mutation {{ startDryRun(configuration: "{name_of(owner)}") {{ errors {{ field }} }} }}'
                assert await _graphql(asking, query) == begun, (caller.name, owner)
                for id_ in (ids[owner], drafts[owner]):
                    seen = _expected(teams, caller, owner, "read", done=200, changes=False)
                    answer = await asking.get(f"/api/v1/dry_runs/{id_}")
                    assert answer.status_code == seen, (caller.name, owner)
                    assert await _graphql(asking, f'{{ dryRun(id: "{id_}") {{ state }} }}') == seen
                    ended = _expected(teams, caller, owner, "run", done=204, changes=True)
                    assert (await asking.delete(f"/api/v1/dry_runs/{id_}")).status_code == ended, (caller.name, owner)
                    query = f'mutation {{ cancelDryRun(id: "{id_}") {{ errors {{ field }} }} }}'
                    assert await _graphql(asking, query) == (200 if ended == 204 else ended)
                if seen == 200 and teams.strict and caller.team is not None:
                    (other,) = {"red", "blue"} - {caller.team}
                    samples = answer.json()["samples"]["added"]
                    assert len(samples) == 4
                    assert {one["why"] == "y" for one in samples if "recipient" not in one} == {False}
                    assert not [one for one in samples if other in (one["producer"], one.get("recipient"))]
    async with teams.app.state.parts.database.write() as session:
        await session.execute(delete(DryRunRow))
