"""What a session may do, by REST and by GraphQL."""

import re
from typing import Any

import pytest
from graphql import get_introspection_query

from control_api.access.actor import ROLES, Role
from control_api.access.sessions import COOKIE
from control_api.app import create_app
from control_api.http.auth import check_guarded
from notifier.settings import Settings
from tests.rigs.api_rig import SCOPE_OF
from tests.rigs.console_server import JSON, Console
from tests.rigs.problems import problem

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_route_is_open_to_the_roles_of_its_scope(console: Console) -> None:
    for role, scopes in ROLES.items():
        async with console.client(await console.session(role), headers=JSON) as browser:
            for route, needed in SCOPE_OF.items():
                method, path = route.split(" ")
                path = re.sub(r"\{\w+\}", "nobody", path.replace("{scheduled_at}", "2026-01-01T00:00:00Z"))
                answer = await browser.request(method, path)
                if "/hooks/" in path:
                    problem(answer, 401)  # for programs alone
                    continue
                allowed = needed is None or needed in scopes
                assert (answer.status_code not in (401, 403)) is allowed, (route, role, answer.text)


@pytest.mark.parametrize("role", list(ROLES))
async def test_graphql_is_open_by_the_same_scopes(console: Console, role: Role) -> None:
    fields = {
        "{ users { nextCursor } }": "read",
        'mutation { deleteFilter(name: "nobody") { name } }': "write",
        'mutation { run(configuration: "nobody") { __typename } }': "run",
        'mutation { deleteScript(name: "nobody") { name } }': "admin",
    }
    async with console.client(await console.session(role)) as browser:
        for query, needed in fields.items():
            answer = (await browser.post("/graphql", json={"query": query})).json()
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            assert codes <= {"FORBIDDEN", "NOT_FOUND"}, answer
            assert ("FORBIDDEN" in codes) is (needed not in ROLES[role]), (query, answer)


async def test_a_token_counts_more_than_the_cookie(console: Console) -> None:
    async with console.client(await console.session("admin")) as browser:
        assert (await browser.get("/api/v1/tokens")).status_code == 200
        reader = {"Authorization": f"Bearer {console.tokens['read']}"}
        problem(await browser.get("/api/v1/tokens", headers=reader), 403)
        problem(await browser.get("/api/v1/tokens", headers={"Authorization": "Bearer ntf_nonsense"}), 401)


async def test_what_a_person_does_is_in_the_audit_log_under_their_name(console: Console) -> None:
    async with console.client(await console.session("admin")) as browser:
        made = await browser.post("/api/v1/tokens", json={"name": "mine", "scopes": ["read"]})
        assert made.json()["created_by"].startswith("account person-")


async def test_people_and_programs_may_see_the_schema_within_the_same_limits(console: Console) -> None:
    options: dict[str, Any] = {
        "schema_description": True, "input_value_deprecation": True, "specified_by_url": True, "directive_is_repeatable": True,
    }  # fmt: skip
    aliases = "{" + " ".join(f"a{n}: __typename" for n in range(31)) + "}"
    deep = "{ users { items " + "{ configurations { users " * 3 + "{ username }" + " } }" * 3 + " } }"
    long = "{" + "__typename " * 1_100 + "}"
    async with console.client(await console.session("viewer")) as browser:
        asked = {"query": get_introspection_query(**options), "operationName": "IntrospectionQuery"}
        answer = await browser.post("/graphql", json=asked)
        assert answer.json()["data"]["__schema"]["types"]
        for query in (aliases, deep, long):
            assert "data" not in (await browser.post("/graphql", json={"query": query})).json()
    async with console.client(headers={"Authorization": f"Bearer {console.tokens['read']}"}) as program:
        answer = await program.post("/graphql", json={"query": "{ __schema { types { name } } }"})
        assert answer.json()["data"]["__schema"]["types"]  # every valid token may ask, within the same limits
        assert "data" not in (await program.post("/graphql", json={"query": long})).json()


async def test_the_description_names_both_ways(console: Console) -> None:
    async with console.client(await console.session("viewer")) as browser:
        description = (await browser.get("/openapi.json")).json()
    assert description["components"]["securitySchemes"]["session"]["name"] == COOKIE
    assert description["paths"]["/api/v1/tokens"]["get"]["security"] == [{"token": ["admin"]}, {"session": ["admin"]}]
    assert not [path for path in description["paths"] if path.startswith(("/console", "/docs", "/assets", "/graphql"))]


async def test_a_page_that_does_not_ask_who_it_is_for_is_found(store_settings: Settings) -> None:
    app = create_app(store_settings)

    @app.get("/secret", include_in_schema=False)
    async def forgotten() -> str:
        return "everything"

    with pytest.raises(RuntimeError, match="/secret does not know who asks"):
        check_guarded(app)

    beside_one = create_app(store_settings)
    beside_one.add_api_route("/api/v1/users", forgotten, methods=["PUT"], include_in_schema=False)
    with pytest.raises(RuntimeError, match="/api/v1/users does not know who asks"):
        check_guarded(beside_one)
