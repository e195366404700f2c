"""Queries: fields, relations, pages and arguments."""

import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_introspection_query,
    print_type,
)

from control_api.definitions.spec import name_field
from control_api.graphql.errors import camel
from control_api.graphql.schema import build_schema
from notifier.definition import SPECS
from notifier.outcome import KINDS
from tests.rigs.definition_cases import SECRET
from tests.rigs.graphql_api import Api

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.predecessor("S-72", "S-75")
async def test_every_field_of_yaml_is_there_in_camel_case() -> None:
    schema = build_schema()
    for kind in KINDS:
        words = {camel(name) for name in SPECS[kind].model_fields} | {name_field(kind)}
        shown, written = schema.type_map[kind.capitalize()], schema.type_map[f"{kind.capitalize()}Input"]
        assert isinstance(shown, GraphQLObjectType)
        assert isinstance(written, GraphQLInputObjectType)
        assert words <= shown.fields.keys(), print_type(shown)
        assert written.fields.keys() == words, print_type(written)


@pytest.mark.predecessor("S-72")
async def test_relations_lead_both_ways(own: Api) -> None:
    """Users, producers, consumers and filters of a configuration, and configurations of each of them."""
    data = await own.data(
        """{
          configuration(name: "main") {
            users { username configurations { name } }
            producers { name configurations { name } script { name consumers { name } } }
            filters { name configurations { name } }
            consumers { name configurations { name } script { content producers { name } } }
          }
        }"""
    )
    groups = await own.data(
        "{ groups { items { name members { username groups { name } } configurations { name } } } }"
    )
    ops = {"name": "ops", "members": [{"username": "alice", "groups": [{"name": "ops"}]}], "configurations": []}
    assert groups["groups"]["items"] == [ops]
    main = [{"name": "main"}]
    disk = {"name": "disk-space", "consumers": [{"name": "to-file"}]}
    assert data["configuration"] == {
        "users": [{"username": "bob", "configurations": main}, {"username": "alice", "configurations": main}],
        "producers": [
            {"name": "disk", "configurations": main, "script": disk},
            {"name": "ci", "configurations": main, "script": None},
        ],
        "filters": [{"name": "no-drafts", "configurations": main}, {"name": "loud", "configurations": main}],
        "consumers": [
            {"name": "to-file", "configurations": main, "script": {"content": "df", "producers": [{"name": "disk"}]}}
        ],
    }


async def test_a_secret_is_nowhere_in_an_answer(api: Api) -> None:
    data = await api.data(
        "{ producers { items { name parameters } } configurations { items { producers { parameters } } } }"
    )
    assert SECRET not in str(data)
    assert "ntfs" not in str(data["producers"])
    assert {"set": True} in [item["parameters"].get("webhook_secret") for item in data["producers"]["items"]]


@pytest.mark.predecessor("S-71")
async def test_pages_lead_through_a_list(api: Api) -> None:
    query = "query($cursor: String) { filters(limit: 1, cursor: $cursor) { items { name } nextCursor } }"
    first = (await api.data(query))["filters"]
    second = (await api.data(query, cursor=first["nextCursor"]))["filters"]
    assert [first["items"], second["items"]] == [[{"name": "loud"}], [{"name": "no-drafts"}]]
    assert second["nextCursor"] is None
    assert await api.refused(query, cursor="!") == "INVALID_INPUT"


@pytest.mark.parametrize(
    "query",
    [
        "{ attempts(limit: 0) { nextCursor } }",
        '{ attempts(outcome: "great") { nextCursor } }',
        '{ deadLetters(stage: "kitchen") { nextCursor } }',
        '{ runs(state: "walking") { nextCursor } }',
        '{ run(configuration: "main", scheduledAt: "yesterday") { state } }',
        '{ run(configuration: "main", scheduledAt: "2026-01-01T00:00:00") { state } }',
        '{ plugins(kind: "user") { type } }',
        '{ users(q: "\\u0000") { nextCursor } }',
        'mutation { deleteUser(username: "alice", ifMatch: "new") { name } }',
    ],
)
async def test_arguments_are_checked_as_those_of_rest(api: Api, query: str) -> None:
    answer = await api.ask(query)
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["extensions"]["status"] == 422
    assert error["extensions"]["errors"][0]["pointer"].startswith("/")


async def test_plugin_types_are_listed_with_their_parameters(api: Api) -> None:
    plugins = (await api.data('{ plugins(kind: "filter") { kind type description parameters } }'))["plugins"]
    assert "skip_keywords" in {plugin["type"] for plugin in plugins}
    assert {plugin["kind"] for plugin in plugins} == {"filter"}
    assert all(plugin["description"] and plugin["parameters"]["properties"] for plugin in plugins)


async def test_an_explanation_is_that_of_rest(own: Api) -> None:
    message = {"producer": "ci", "receiver": "alice", "content": "build failed", "extra": {"deep": [1]}}
    query = """query ($message: JSON, $draft: JSON, $configuration: String) {
      explain(message: $message, draft: $draft, configuration: $configuration, at: "2026-11-26T10:00:00Z") {
        message origin asOf revision at text reason omitted mappings { mapping }
        configurations { configuration version verdict reason text omitted recipients {
          recipient verdict reason text
          steps { filter type verdict reason text reached }
          consumers { consumer address lane verdict reason text rendered } } }
        now { text } attempts { outcome } deadLetters { reason }
      }
    }"""
    drafted = {"configuration": "main", "draft": {"users": ["alice"], "producers": ["ci"], "consumers": ["to-file"]}}
    for more in ({}, drafted):
        body = {"message": message, "at": "2026-11-26T10:00:00Z", **more}
        async with own.client("read") as reader:
            by_rest = (await reader.post("/api/v1/explain", json=body)).json()
        (found,) = (await own.data(query, "read", message=message, **more)).values()
        assert {camel(name): value for name, value in by_rest.items()} == found
    wrong = await own.ask('{ explain(producer: "ci") { text } }', "read")
    assert wrong["errors"][0]["extensions"]["errors"][0]["pointer"] == "/id"


async def test_next_runs_and_whether_a_person_works_are_worked_out(api: Api) -> None:
    data = await api.data(
        """{
          configuration(name: "main") { upcoming(count: 2) { text next } }
          users { items { username working { working reason } } }
          user(username: "alice") { working(at: "2027-01-01T00:00:00Z") { working reason } }
        }""",
        "read",
    )
    assert len(data["configuration"]["upcoming"]["next"]) == 2
    assert "Europe/Berlin" in data["configuration"]["upcoming"]["text"]
    async with api.client("read") as asking:
        schedule = (await asking.get("/api/v1/configurations/main/schedule", params={"count": 2})).json()
        assert data["configuration"]["upcoming"]["text"] == schedule["text"]
    assert data["users"]["items"] == [
        {"username": "alice", "working": {"working": True, "reason": "ok"}},
        {"username": "bob", "working": {"working": False, "reason": "on_leave"}},
    ]
    assert data["user"]["working"] == {"working": True, "reason": "ok"}
    for query in (
        '{ user(username: "alice") { working(at: "soon") { reason } } }',
        '{ configuration(name: "main") { upcoming(count: 0) { text } } }',
        '{ configuration(name: "main") { upcoming(count: 101) { text } } }',
    ):
        assert await api.refused(query) == "INVALID_INPUT"


async def test_tokens_are_listed_without_their_text(api: Api) -> None:
    query = (
        "query($cursor: String) { tokens(limit: 2, cursor: $cursor) { nextCursor items { id name scopes createdAt } } }"
    )
    first = (await api.data(query))["tokens"]
    assert len(first["items"]) == 2
    second = (await api.data(query, cursor=first["nextCursor"]))["tokens"]
    assert not {one["id"] for one in first["items"]} & {one["id"] for one in second["items"]}
    (token,) = first["items"][:1]
    found = await api.data("query($id: String!) { token(id: $id) { name scopes revokedAt } }", id=token["id"])
    assert found["token"] == {"name": token["name"], "scopes": token["scopes"], "revokedAt": None}
    assert await api.refused('{ token(id: "none") { id } }') == "NOT_FOUND"
    assert await api.refused("{ tokens { items { id } } }", "write") == "FORBIDDEN"


async def test_any_valid_token_may_see_the_schema(api: Api) -> None:
    for scope in api.tokens:
        assert (await api.data(get_introspection_query(), scope))["__schema"]["types"]
