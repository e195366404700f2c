"""Teams: who sees and who changes what, for every scope, role and team, with definitions of others shown and hidden."""

import pytest

from control_api.access.actor import Actor
from control_api.definitions.spec import name_field
from notifier.errors import Forbidden, InputError, OtherTeam, StillReferenced, UnknownName
from notifier.outcome import KINDS, Kind
from notifier.record import now
from notifier.status import Status
from tests.rigs.problems import problem
from tests.rigs.teams_rig import TEAMS, WRITTEN, Caller, Teams, name_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _status(teams: Teams, caller: Caller, kind: Kind, owner: str | None, method: str) -> int:
    """What an answer must be. The changes name a version that is not there, so one that is allowed is 412."""
    if not caller.may("read" if method == "GET" else "admin" if kind == "script" else "write"):
        return 403
    if teams.strict and caller.is_kept_out(owner):
        return 404
    if method == "GET":
        return 200
    return 403 if caller.is_kept_out(owner) else 412


@pytest.mark.parametrize("kind", KINDS)
async def test_every_definition_is_open_to_its_team_and_to_no_other(teams: Teams, kind: Kind) -> None:
    for caller in teams.callers if kind == "filter" else teams.some():
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                path = f"/api/v1/{kind}s/{name_of(owner)}"
                for method in ("GET", "PUT", "PATCH", "DELETE"):
                    body = None if method in ("GET", "DELETE") else {**WRITTEN[kind], "team": owner}
                    headers = {} if method == "GET" else {"If-Match": '"0"', "Content-Type": "application/json"}
                    answer = await asking.request(method, path, headers=headers, json=body)
                    expected = _status(teams, caller, kind, owner, method)
                    assert answer.status_code == expected, (caller.name, owner, method, answer.text)
                    if expected == 403 and caller.may("admin"):
                        assert f"the team {owner!r}" in problem(answer, 403)["detail"]
            if caller.may("read"):
                listed = (await asking.get(f"/api/v1/{kind}s")).json()["items"]
                seen = [name_of(owner) for owner in TEAMS if not (teams.strict and caller.is_kept_out(owner))]
                assert sorted(one[name_field(kind)] for one in listed) == sorted(seen)


@pytest.mark.parametrize("kind", ["group", "script", "configuration"])
async def test_graphql_is_open_alike(teams: Teams, kind: Kind) -> None:
    key, word = name_field(kind), kind.capitalize()
    for caller in teams.some():
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                name = name_of(owner)
                for method, query in (
                    ("GET", f'{{ did: {kind}({key}: "{name}") {{ team }} }}'),
                    (
                        "PATCH",
                        f'mutation {{ did: update{word}({key}: "{name}", input: {{}}, ifMatch: "0") {{ errors {{ field }} }} }}',
                    ),
                    ("DELETE", f'mutation {{ did: delete{word}({key}: "{name}", ifMatch: "0") {{ name }} }}'),
                ):
                    answer = (await asking.post("/graphql", json={"query": query})).json()
                    status = next((error["extensions"]["status"] for error in answer.get("errors", ())), 200)
                    assert status == _status(teams, caller, kind, owner, method), (caller.name, owner, method, answer)
            if caller.may("read"):
                answer = (await asking.post("/graphql", json={"query": f"{{ {kind}s {{ items {{ team }} }} }}"})).json()
                seen = [owner for owner in TEAMS if not (teams.strict and caller.is_kept_out(owner))]
                found = [one["team"] for one in answer["data"][f"{kind}s"]["items"]]
                assert sorted(found, key=str) == sorted(seen, key=str)


async def test_what_belongs_to_a_definition_is_open_alike(teams: Teams) -> None:
    for caller in teams.callers:
        async with teams.client(caller) as asking:
            for owner in TEAMS:
                hidden = teams.strict and caller.is_kept_out(owner)
                name = name_of(owner)
                for path in (f"configurations/{name}/schedule", f"users/{name}/working"):
                    answer = await asking.get(f"/api/v1/{path}")
                    expected = 403 if not caller.may("read") else 404 if hidden else 200
                    assert answer.status_code == expected, (caller.name, path, answer.text)
                if caller.is_kept_out(owner) or not caller.may("run"):  # else it would wait for the broker
                    answer = await asking.post(f"/api/v1/configurations/{name}/run")
                    expected = 404 if hidden and caller.may("run") else 403
                    assert answer.status_code == expected, (caller.name, name, answer.text)
                    query = f'mutation {{ run(configuration: "{name}") {{ tick {{ configuration }} }} }}'
                    (error,) = (await asking.post("/graphql", json={"query": query})).json()["errors"]
                    assert error["extensions"]["status"] == expected
                if caller.is_kept_out(owner) or not caller.may("run"):
                    answer = await asking.post(f"/api/v1/consumers/{name}/test")
                    expected = 404 if hidden and caller.may("run") else 403
                    assert answer.status_code == expected, (caller.name, name, answer.text)
                    query = f'mutation {{ sendTest(name: "{name}") {{ state }} }}'
                    (error,) = (await asking.post("/graphql", json={"query": query})).json()["errors"]
                    assert error["extensions"]["status"] == expected
                for action in ("pause", "resume") if caller.is_kept_out(owner) or not caller.may("write") else ():
                    expected = 404 if hidden and caller.may("write") else 403
                    for kind in ("consumer", "producer"):
                        answer = await asking.post(f"/api/v1/{kind}s/{name}/{action}")
                        assert answer.status_code == expected, (caller.name, kind, name, answer.text)
                        query = f'mutation {{ {action}{kind.capitalize()}(name: "{name}") {{ status {{ state }} }} }}'
                        (error,) = (await asking.post("/graphql", json={"query": query})).json()["errors"]
                        assert error["extensions"]["status"] == expected


async def test_the_history_of_others_is_hidden_where_their_definitions_are(teams: Teams) -> None:
    for caller in teams.some():
        if not caller.may("read"):
            continue
        async with teams.client(caller) as asking:
            alone = teams.strict and caller.team is not None
            seen = [name_of(owner) for owner in TEAMS if not (alone and caller.is_kept_out(owner))]
            # Of what concerns no configuration, or several, a team sees what its own producers sent.
            wanted = {f"{name}/1/{name}/chat/alice" for name in seen}
            wanted |= {f"{name}/2" for name in ([caller.team] if alone else seen)}
            attempts = (await asking.get("/api/v1/attempts")).json()["items"]
            assert {one["delivery"] for one in attempts} == wanted, caller.name
            letters = (await asking.get("/api/v1/dead_letters")).json()["items"]
            assert {one["id"] for one in letters} == wanted, caller.name
            runs = (await asking.get("/api/v1/runs")).json()["items"]
            assert sorted(one["configuration"] for one in runs) == sorted(seen)
            query = "{ attempts { items { delivery } } deadLetters { items { id } } runs { items { configuration } } }"
            data = (await asking.post("/graphql", json={"query": query})).json()["data"]
            assert {one["delivery"] for one in data["attempts"]["items"]} == wanted
            assert {one["id"] for one in data["deadLetters"]["items"]} == wanted
            assert sorted(one["configuration"] for one in data["runs"]["items"]) == sorted(seen)
            for id_ in ("red/2", "blue/2", "common/2"):
                query = f'{{ deadLetter(id: "{id_}") {{ id }} }}'
                answers = [(await asking.get(f"/api/v1/dead_letters/{id_}")).status_code]
                answers.append(
                    200 if "errors" not in (await asking.post("/graphql", json={"query": query})).json() else 404
                )
                assert answers == [200 if id_ in wanted else 404] * 2, (caller.name, id_)


async def test_what_others_said_is_neither_shown_nor_found(teams: Teams) -> None:
    for caller in teams.some():
        if not caller.may("read"):
            continue
        async with teams.client(caller) as asking:
            kept_out = [name_of(one) for one in TEAMS if teams.strict and caller.is_kept_out(one)]
            seen = sorted({name_of(owner) for owner in TEAMS} - {*kept_out})
            for conditions in ({}, {"q": "word"}, {"recipient": "alice"}, {"q": "word", "outcome": "accepted"}):
                found = (await asking.get("/api/v1/messages", params=conditions)).json()["items"]
                assert sorted(one["producer"] for one in found) == seen, (caller.name, conditions)
            found = (await asking.get("/api/v1/attempts", params={"q": "word", "reason": "ok"})).json()["items"]
            assert sorted(one["producer"] for one in found) == seen
            found = (await asking.get("/api/v1/counters")).json()["items"]
            assert sorted({one["configuration"] for one in found} - {None}) == seen
            for owner in TEAMS:
                name = name_of(owner)
                answer = await asking.get(f"/api/v1/messages/{name}/1")
                assert answer.status_code == (200 if name in seen else 404)
                query = (
                    f'{{ message(producer: "{name}", id: "1") {{ id }} messages(q: "{name}") {{ items {{ id }} }} }}'
                )
                data = (await asking.post("/graphql", json={"query": query})).json()["data"]
                assert (data["message"] is not None) == (name in seen)
                assert len(data["messages"]["items"]) == (name in seen)


async def test_tokens_are_made_and_ended_within_a_team(teams: Teams) -> None:
    boss, red = teams.one("admin -"), teams.one("admin red")
    async with teams.client(red) as asking, teams.client(boss) as above:
        made = await asking.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"]})
        assert (made.status_code, made.json()["team"]) == (201, "red")
        detail = problem(
            await asking.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"], "team": "blue"}), 403
        )
        assert "'blue'" in detail["detail"]
        wrong = await asking.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"], "team": "No Team"})
        assert wrong.status_code == 422
        other = (await above.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"], "team": "blue"})).json()
        nobodys = (await above.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"]})).json()
        assert nobodys["team"] is None
        for token in (other, nobodys):
            hidden = teams.strict and token is other
            assert (await asking.get(f"/api/v1/tokens/{token['id']}")).status_code == (404 if hidden else 200)
            problem(await asking.delete(f"/api/v1/tokens/{token['id']}"), 404 if hidden else 403)
            assert (await above.delete(f"/api/v1/tokens/{token['id']}")).status_code == 204
        assert (await asking.delete(f"/api/v1/tokens/{made.json()['id']}")).status_code == 204
        listed = {one["team"] for one in (await asking.get("/api/v1/tokens")).json()["items"]}
        assert listed == ({"red", None} if teams.strict else {"red", "blue", None})


def _actor(team: str | None, *scopes: str, strict: bool = False) -> Actor:
    return Actor("somebody", frozenset(scopes or ("write",)), team, strict)  # type: ignore[arg-type]


FILTER = {"type": "severity", "parameters": {"at_least": "error"}}


async def test_what_a_team_makes_is_its_own(teams: Teams) -> None:
    services, red = teams.services, _actor("red")
    made = await services.create(red, "filter", {"name": "made", **FILTER})
    assert made.document["team"] == "red"
    with pytest.raises(OtherTeam, match="'blue'"):
        await services.create(red, "filter", {"name": "other", "team": "blue", **FILTER})
    for write in ({"name": "made", **FILTER}, {"name": "made", "team": None, **FILTER}):  # left out, or null: it stays
        same = await services.replace(red, "filter", "made", write)
        assert (same.document["team"], same.revision) == ("red", made.revision)
    changed = await services.patch(red, "filter", "made", {"title": "Ours"})
    assert (changed.document["team"], changed.document["title"]) == ("red", "Ours")
    await services.delete(red, "filter", "made")
    boss = _actor(None)
    assert (await services.create(boss, "filter", {"name": "made", "team": "blue", **FILTER})).document[
        "team"
    ] == "blue"
    with pytest.raises(OtherTeam):
        await services.delete(red, "filter", "made")
    await services.delete(boss, "filter", "made")


async def test_a_definition_moves_by_an_admin_without_team_alone(teams: Teams) -> None:
    services = teams.services
    await services.create(_actor("red"), "filter", {"name": "moved", **FILTER})
    await services.create(_actor(None), "filter", {"name": "free", **FILTER})
    for actor in (_actor("red"), _actor("red", "admin"), _actor(None)):
        with pytest.raises(Forbidden, match="moving"):
            await services.patch(actor, "filter", "moved", {"team": "blue"})
        with pytest.raises(Forbidden, match="moving"):
            await services.patch(actor, "filter", "free", {"team": "red"})
    with pytest.raises(Forbidden, match="to no team"):
        await services.replace(_actor(None), "filter", "moved", {"name": "moved", **FILTER})
    boss = _actor(None, "admin")
    assert (await services.patch(boss, "filter", "moved", {"team": "blue"})).document["team"] == "blue"
    with pytest.raises(OtherTeam):
        await services.patch(_actor("red"), "filter", "moved", {"title": "Ours"})
    assert (await services.patch(boss, "filter", "moved", {"team": None})).document["team"] is None
    assert (await services.patch(_actor("red"), "filter", "moved", {"title": "X"})).document["title"] == "X"
    for name in ("moved", "free"):
        await services.delete(boss, "filter", name)


async def test_what_is_hidden_cannot_be_named(teams: Teams) -> None:
    services = teams.services
    red, blue = _actor("red", strict=teams.strict), _actor("blue", strict=teams.strict)
    written = {"name": "named", "users": ["red", "blue", "group:blue", "common"], "producers": ["blue"]}
    if teams.strict:
        with pytest.raises(InputError) as caught:
            await services.create(red, "configuration", written)
        assert [error.pointer for error in caught.value.errors] == ["/users/1", "/users/2", "/producers/0"]
        with pytest.raises(UnknownName):
            await services.delete(red, "user", "blue")
        await services.create(_actor(None, "admin"), "configuration", {**written, "team": "red"})
    else:
        await services.create(red, "configuration", written)
    by = "another team" if teams.strict else "configuration/named"
    with pytest.raises(StillReferenced, match=by) as still:
        await services.delete(blue, "user", "blue")
    assert still.value.by == (by,)
    await services.delete(red, "configuration", "named")


async def test_what_roles_say_of_hidden_definitions_is_hidden(teams: Teams) -> None:
    statuses = teams.app.state.parts.statuses
    problems = {f"filter/{name}": "it is broken" for name in ("red", "blue", "common", "gone")}
    for status in (
        Status(kind="role", name="router@a", state="ready", at=now(), problems=problems),
        Status(kind="consumer", name="blue", state="paused", at=now()),
        Status(kind="consumer", name="red", state="paused", at=now()),
        Status(kind="producer_pause", name="blue", state="paused", at=now()),
        Status(kind="chat", name="blue/-1", state="moved", at=now(), became="-1001"),
        Status(kind="chat", name="red/-1", state="moved", at=now(), became="-1001"),
    ):
        statuses._take(f"{status.kind}/{status.name}", status.encode())
    async with teams.client(teams.one("read red")) as asking:
        found = (await asking.get("/api/v1/status")).json()["items"]
    names = {one["name"]: set(one["problems"]) for one in found}
    assert [one["became"] for one in found if one["name"] == "red/-1"] == ["-1001"]
    if teams.strict:
        assert names == {"router@a": {"filter/red", "filter/common"}, "red": set(), "red/-1": set()}
    else:
        assert [one["kind"] for one in found if one["name"] == "blue"] == ["consumer", "producer"]
        assert names == {"router@a": set(problems), "blue": set(), "red": set(), "blue/-1": set(), "red/-1": set()}
