"""GraphQL over HTTP: who may ask what, how much, and that it does what REST does - by one table through both."""

import logging
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from graphql import (
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    get_introspection_query,
    get_named_type,
    print_type,
)
from sqlalchemy import event

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE, SCOPES
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.definitions.spec import name_field
from control_api.graphql.errors import camel
from control_api.graphql.limits import MAX_ALIASES, MAX_CHARACTERS, MAX_DEPTH, MAX_FIELDS, MAX_TOKENS
from control_api.graphql.schema import build_schema, scopes_of
from control_api.migrate import upgrade
from control_api.parts import Parts
from control_api.registry import load_registry
from notifier.database import SQLITE_FILE, Database
from notifier.definition import SPECS
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject
from notifier.seal import generate_key, load_seal
from notifier.settings import Settings, load_settings
from tests.rigs.definition_cases import BASE, CASES, SECRET, Case, Expected
from tests.rigs.kafka_tools import produce, read_all, wait_until

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

RESPONSE = "application/graphql-response+json"


@dataclass
class Api:
    """An API with `BASE` in its database and a token for each scope."""

    transport: httpx.ASGITransport
    parts: Parts
    tokens: dict[str, str]

    def client(self, scope: str | None = "admin") -> httpx.AsyncClient:
        """A client that may do what that scope says; None: anonymous."""
        headers = {} if scope is None else {"Authorization": f"Bearer {self.tokens[scope]}"}
        return httpx.AsyncClient(transport=self.transport, base_url="http://test", headers=headers)

    async def ask(self, query: str, scope: str = "admin", **variables: Any) -> JsonObject:
        """The answer to a query."""
        async with self.client(scope) as asking:
            answer = await asking.post("/graphql", json={"query": query, "variables": variables})
        assert answer.headers["content-type"] == RESPONSE, answer.text
        body: JsonObject = answer.json()
        assert (answer.status_code == 200) is ("data" in body)
        return body

    async def data(self, query: str, scope: str = "admin", **variables: Any) -> JsonObject:
        """The answer's data; fails where it has errors."""
        answer = await self.ask(query, scope, **variables)
        assert "errors" not in answer, answer
        data: JsonObject = answer["data"]
        return data

    async def refused(self, query: str, scope: str = "admin", **variables: Any) -> str:
        """The code of the one error of an answer."""
        answer = await self.ask(query, scope, **variables)
        assert len(answer["errors"]) == 1, answer
        assert answer["errors"][0]["message"]
        code: str = answer["errors"][0]["extensions"]["code"]
        return code


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """An API in this event loop, on an upgraded database."""
    database = Database(settings)
    services = Services(database, load_registry(), load_seal(settings))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        for kind, document in BASE:
            await services.create(COMMAND_LINE, kind, dict(document))
        made: dict[str, str] = {
            scope: await tokens.create_token(settings, name=scope, scopes=[scope]) for scope in SCOPES
        }
        app = create_app(settings)
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield Api(httpx.ASGITransport(app), app.state.parts, made)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(upgraded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """An API without a broker, for all tests of this file that change nothing."""
    folder = tmp_path_factory.mktemp("graphql")
    shutil.copy(upgraded_file, folder / SQLITE_FILE)
    settings = load_settings(
        env_file=None, data_dir=folder, kafka="127.0.0.1:1", database_url=None, secret_key=generate_key()
    )
    async with serving(settings) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def own(store_settings: Settings) -> AsyncIterator[Api]:
    """An API of the test's own, on each kind of database, without a broker."""
    async with serving(store_settings) as api:
        yield api


# ------------------------------------------------------------------------------------------- one table, both surfaces


@dataclass(frozen=True)
class Outcome:
    """What came of an operation, in the words of the table."""

    got: str
    pointers: tuple[str, ...] = ()
    document: Mapping[str, Any] | None = None
    names: tuple[str, ...] = ()


_STATUSES: dict[int, Expected] = {
    400: "malformed", 403: "forbidden", 404: "unknown", 409: "conflict", 412: "stale", 422: "invalid",
}  # fmt: skip


async def by_rest(api: Api, case: Case, etag: str | None) -> Outcome:
    headers = {} if etag is None else {"If-Match": etag}
    path, at = f"/api/v1/{case.kind}s", f"/api/v1/{case.kind}s/{case.name}"
    async with api.client(case.scope) as asking:
        match case.do:
            case "create":
                answer = await asking.post(path, json=dict(case.written))
            case "update":
                answer = await asking.patch(at, json=dict(case.written), headers=headers)
            case "delete":
                answer = await asking.delete(at, headers=headers)
            case "get":
                answer = await asking.get(at)
            case "list":
                answer = await asking.get(path, params=dict(case.written))
    if not answer.is_success:
        errors = answer.json().get("errors", [])
        return Outcome(_STATUSES[answer.status_code], tuple(error["pointer"] for error in errors))
    body = answer.json() if answer.content else {}
    return Outcome("done", document=body, names=tuple(item[name_field(case.kind)] for item in body.get("items", ())))


_SELECTIONS: dict[Kind, str] = {
    "user": "username onLeave workingTime { start end days timezone } additionalInfo etag",
    "script": "name title executor content etag",
    "producer": "name title type parameters etag",
    "filter": "name title type parameters etag",
    "consumer": "name title type parameters etag",
    "configuration": (
        "name title users { username } producers { name } filters { name } consumers { name }"
        " schedule { cron timezone missed } template enabled etag"
    ),
}


async def by_graphql(api: Api, case: Case, etag: str | None) -> Outcome:
    word, key, shown = case.kind.capitalize(), name_field(case.kind), _SELECTIONS[case.kind]
    may_read = case.scope in ("read", "admin")
    if case.kind == "configuration" and not may_read:  # what it names is more than what was written
        shown = "name etag"
    variables: JsonObject = {"name": case.name, "input": _camel(case.kind, case.written), "etag": etag}
    match case.do:
        case "create":
            query = f"mutation($input: {word}Input!) {{ did: create{word}(input: $input) {{"
            query += f" {case.kind} {{ {shown} }} errors {{ field messages pointer }} }} }}"
        case "update":
            query = f"mutation($name: String!, $input: {word}Input!, $etag: String) {{ did: update{word}("
            query += f"{key}: $name, input: $input, ifMatch: $etag) {{ {case.kind} {{ {shown} }}"
            query += " errors { field messages pointer } } }"
        case "delete":
            query = f"mutation($name: String!, $etag: String) {{ did: delete{word}({key}: $name, ifMatch: $etag) {{"
            query += " name revision errors { pointer } } }"
        case "get":
            query = f"query($name: String!) {{ did: {case.kind}({key}: $name) {{ {shown} }} }}"
        case "list":
            variables = dict(case.written)
            query = "query($limit: Int, $q: String)"
            query += f" {{ did: {case.kind}s(limit: $limit, q: $q) {{ items {{ {key} }} nextCursor }} }}"
    declared = query.partition("{")[0]
    answer = await api.ask(
        query, case.scope, **{key: value for key, value in variables.items() if f"${key}:" in declared}
    )
    if "errors" in answer:
        (error, *_) = answer["errors"]
        pointers = tuple(fault["pointer"] for fault in error["extensions"].get("errors", ()))
        return Outcome(_STATUSES[error["extensions"]["status"]], pointers)
    did = answer["data"]["did"]
    if did.get("errors"):
        assert did[case.kind] is None
        assert all(fault["field"] and fault["messages"] for fault in did["errors"])
        return Outcome("invalid", tuple(fault["pointer"] for fault in did["errors"]))
    document = did if case.do == "get" else did.get(case.kind)
    if document is not None and "users" not in document and case.kind == "configuration":
        return await by_graphql(api, Case(id="", do="get", kind=case.kind, name=document["name"], scope="read"), None)
    return Outcome(
        "done", document=_snake(case.kind, document or {}), names=tuple(item[key] for item in did.get("items", ()))
    )


def _camel(kind: Kind, document: Mapping[str, Any]) -> JsonObject:
    return {camel(name): value for name, value in document.items()}


def _snake(kind: Kind, document: JsonObject) -> JsonObject:
    words = {camel(name): name for name in SPECS[kind].model_fields}
    plain = {words.get(name, name): value for name, value in document.items()}
    if kind == "configuration":
        for other in {"users", "producers", "filters", "consumers"} & plain.keys():
            plain[other] = [next(iter(named.values())) for named in plain[other]]
    return plain


async def _check_case(api: Api, case: Case, surface: str) -> None:
    etag = None
    if case.if_match != "none":
        stored = await api.parts.services.get(case.kind, case.name)
        etag = stored.etag if case.if_match == "fresh" else f'"{stored.revision - 1}"'
    outcome = await (by_rest if surface == "rest" else by_graphql)(api, case, etag)
    expected = case.expect if surface == "rest" or case.in_graphql is None else case.in_graphql
    assert outcome.got == expected, (case.id, surface, outcome)
    if expected == "invalid":
        assert sorted(outcome.pointers) == sorted(case.pointers), (case.id, surface)
    for name, value in case.shows.items():
        assert outcome.document is not None
        assert outcome.document[name] == value, (case.id, surface, name)
    assert outcome.names == tuple(case.names), (case.id, surface)
    assert SECRET not in str(outcome)


@pytest.mark.predecessor("S-37", "S-71", "S-73")
@pytest.mark.parametrize("surface", ["rest", "graphql"])
async def test_rest_and_graphql_do_the_same(store_settings: Settings, surface: str) -> None:
    # One API for the whole table; what a case changes is put back after it, since an API for each case would take minutes.
    async with serving(store_settings) as api:
        revisions = await _revisions(api)
        for case in CASES:
            await _restore(api, revisions)
            await _check_case(api, case, surface)


async def _revisions(api: Api) -> dict[tuple[Kind, str], int]:
    return {(kind, one.name): one.revision for kind in KINDS for one in (await api.parts.services.list(kind)).items}


async def _restore(api: Api, revisions: dict[tuple[Kind, str], int]) -> None:
    """Puts back what is not as it was; `revisions` are those of `BASE` as it is stored."""
    services, stored = api.parts.services, await _revisions(api)
    for kind in reversed(KINDS):
        for of, name in stored.keys() - revisions.keys():
            if of == kind:
                await services.delete(COMMAND_LINE, kind, name)
    for kind, document in BASE:
        key = kind, document[name_field(kind)]
        if key not in stored:
            revisions[key] = (await services.create(COMMAND_LINE, kind, dict(document))).revision
        elif stored[key] != revisions.get(key):
            revisions[key] = (await services.replace(COMMAND_LINE, kind, key[1], dict(document))).revision


# -------------------------------------------------------------------------------------------------------------- access


def _call(type_name: str, field: str) -> str:
    """An operation that asks for that field, with arguments that fit, through whatever leads to it."""
    schema = build_schema()
    type_ = schema.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    if type_name in ("Query", "Mutation"):
        given = []
        for name, argument in type_.fields[field].args.items():
            if isinstance(argument.type, GraphQLNonNull):
                inner = get_named_type(argument.type)
                value = "{}" if isinstance(inner, GraphQLInputObjectType) else '"2026-01-01T00:00:00Z"'
                given.append(f"{name}: {value}")
        arguments = f"({', '.join(given)})" if given else ""
        return f"{type_name.lower()} {{ {field}{arguments} {_below(type_.fields[field].type)} }}"
    kind = type_name.lower()
    return f"{{ {kind}s {{ items {{ {field} {_below(type_.fields[field].type)} }} }} }}"


def _below(type_: Any) -> str:
    return "{ __typename }" if isinstance(get_named_type(type_), GraphQLObjectType) else ""


@pytest.mark.predecessor("S-71", "S-73")
async def test_every_field_is_open_to_its_scope_and_to_no_other(api: Api) -> None:
    scopes = scopes_of(build_schema())
    relations = {f"{kind.capitalize()}.configurations" for kind in ("user", "producer", "filter", "consumer")}
    relations |= {"Script.producers", "Script.consumers", "Producer.script", "Consumer.script"}
    relations |= {f"Configuration.{kind}s" for kind in ("user", "producer", "filter", "consumer")}
    reads = {f"Query.{kind}{end}" for kind in KINDS for end in ("", "s")}
    reads |= {f"Query.{name}" for name in ("attempts", "deadLetters", "deadLetter", "runs", "run", "plugins")}
    writes = {f"Mutation.{do}{kind.capitalize()}": kind for do in ("create", "update", "delete") for kind in KINDS}
    assert scopes == {
        **dict.fromkeys(reads | relations, "read"),
        **{name: "admin" if kind == "script" else "write" for name, kind in writes.items()},
        "Mutation.run": "run",
    }
    for name, needed in scopes.items():
        query = _call(*name.split("."))
        async with api.client(None) as nobody:
            assert (await nobody.post("/graphql", json={"query": query})).status_code == 401
        for scope in SCOPES:
            if name == "Mutation.run" and scope in ("run", "admin"):
                continue  # it would wait for the broker that is not there; below it is run
            answer = await api.ask(query, scope)
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            assert codes <= {"FORBIDDEN", "NOT_FOUND"}, (name, scope, answer)
            assert ("FORBIDDEN" not in codes) is (scope in (needed, "admin")), (name, scope, answer)


async def test_a_field_without_scope_is_found() -> None:
    schema = build_schema()
    assert schema.query_type is not None
    field = schema.query_type.fields["users"]
    resolve, field.resolve = field.resolve, None
    try:
        with pytest.raises(RuntimeError, match=r"Query\.users says no scope"):
            scopes_of(schema)
    finally:
        field.resolve = resolve


async def test_a_writer_is_not_shown_what_an_object_is_related_to(own: Api) -> None:
    query = 'mutation { updateUser(username: "alice", input: {onLeave: true}) { user { username configurations { name } } } }'
    answer = await own.ask(query, "write")
    assert answer["data"]["updateUser"]["user"] == {"username": "alice", "configurations": None}
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert answer["errors"][0]["path"] == ["updateUser", "user", "configurations"]


@pytest.mark.parametrize("query", ["{ __schema { types { name } } }", '{ __type(name: "User") { name } }'])
async def test_only_an_admin_sees_the_schema(api: Api, query: str) -> None:
    for scope in ("read", "write", "push"):
        answer = await api.ask(query, scope)
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_REQUEST"}
        assert "data" not in answer
    assert await api.data(query)
    assert (await api.data("{ __typename }", "push")) == {"__typename": "Query"}


async def test_an_admins_tools_may_read_all_of_the_schema(api: Api) -> None:
    schema = (await api.data(get_introspection_query()))["__schema"]
    assert {type_["name"] for type_ in schema["types"]} >= {kind.capitalize() for kind in KINDS}


async def test_names_are_not_suggested(api: Api) -> None:
    for query in ("{ user_ { username } }", "{ users { item { username } } }", "{ users(limits: 3) { nextCursor } }"):
        answer = await api.ask(query)
        assert answer["errors"]
        assert "Did you mean" not in str(answer)


# -------------------------------------------------------------------------------------------------------------- limits


def _nested(depth: int) -> str:
    return "{ users { items " + "{ configurations { users " * depth + "{ username }" + " } }" * depth + " } }"


FRAGMENTS = "".join(f"fragment f{n} on User {{ ...f{n + 1} ...f{n + 1} }} " for n in range(15))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{" + " ".join(f"a{n}: __typename" for n in range(10_000)) + "}", "TOO_COMPLEX"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(200)) + "}", "TOO_COMPLEX"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(MAX_ALIASES + 1)) + "}", "TOO_COMPLEX"),
        ("{ a " * 3_000 + "}" * 3_000, None),  # too long, or too deep for the parser: whichever is noticed first
        ("{a" * 3_000 + "}" * 3_000, "BAD_REQUEST"),  # too many tokens
        ("{a" * 320 + "}" * 320, "BAD_REQUEST"),  # too deep for the parser, or for us
        (_nested(20), "TOO_COMPLEX"),
        (_nested(3), "TOO_COMPLEX"),
        ("{ users(q: " + "[" * 900 + "]" * 90 + ") { nextCursor } }", "BAD_REQUEST"),
        ("{" + "__typename " * 1_100 + "}", "BAD_REQUEST"),
        ("{" + "... {" * 300 + "__typename" + "}" * 300 + "}", None),
        ("#" * MAX_CHARACTERS + "\n{ __typename }", "TOO_COMPLEX"),
        ("{ users { items { ...f0 } } } " + FRAGMENTS + "fragment f15 on User { username }", "TOO_COMPLEX"),
        ("{ users { items { ...a } } } fragment a on User { ...b } fragment b on User { ...a }", "TOO_COMPLEX"),
        ("{ ...nothing }", "BAD_REQUEST"),
        ("{ users { items { username } }", "BAD_REQUEST"),
        ("", "BAD_REQUEST"),
        ("subscription { users { nextCursor } }", "BAD_REQUEST"),
        ("{ users }", "BAD_REQUEST"),
        ("{ users { items { password } } }", "BAD_REQUEST"),
    ],
    ids=range(20),
)
async def test_what_asks_too_much_or_is_no_query_is_refused(api: Api, query: str, code: str | None) -> None:
    answer = await api.ask(query)
    assert "data" not in answer
    codes = {error["extensions"]["code"] for error in answer["errors"]}
    assert codes <= ({code} if code else {"BAD_REQUEST", "TOO_COMPLEX"}), answer


async def test_what_is_just_within_the_limits_is_answered(api: Api) -> None:
    assert len(await api.data("{" + " ".join(f"a{n}: __typename" for n in range(MAX_ALIASES)) + "}")) == MAX_ALIASES
    deep = "{ users { items { configurations { producers { script { consumers { configurations { name } } } } } } } }"
    assert MAX_DEPTH == 8
    assert await api.data(deep)
    assert MAX_TOKENS == 1_000
    assert MAX_FIELDS == 1_000


async def test_an_answer_that_would_hold_too_much_is_refused(own: Api) -> None:
    services = own.parts.services
    for number in range(40):
        await services.create(COMMAND_LINE, "configuration", {"name": f"c{number}", "users": ["alice", "bob"]})
    query = "{ configurations(limit: 500) { items { users { configurations { users { username } } } } } }"
    answer = await own.ask(query)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"TOO_COMPLEX"}


async def test_a_list_with_its_relations_costs_a_few_statements_however_long_it_is(own: Api) -> None:
    services = own.parts.services
    for number in range(30):
        await services.create(
            COMMAND_LINE, "configuration", {"name": f"c{number}", "users": ["alice"], "producers": ["ci"]}
        )
    query = "{ configurations { items { name users { username configurations { name } } producers { name } } } }"
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "FROM definition" in statement or "FROM reference" in statement:
            statements.append(statement)

    engine = own.parts.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    data = await own.data(query)
    event.remove(engine, "before_cursor_execute", note)
    items = data["configurations"]["items"]
    assert len(items) == 31
    assert len(items[0]["users"][0]["configurations"]) == 31
    assert len(statements) <= 5, statements


# ---------------------------------------------------------------------------------------------------------- over HTTP


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'[{"query": "{ __typename }"}]', "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"query": 1}', "application/json", 422),
        (b'{"query": "{ __typename }", "variables": []}', "application/json", 422),
        (b'{"query": "{ __typename }", "color": 1}', "application/json", 422),
        (b"{ __typename }", "application/graphql", 415),
        (b"query={__typename}", "application/x-www-form-urlencoded", 415),
        (b'{"query": "{ __typename }", "variables": {"x": ' + b"[" * 100 + b"]" * 100 + b"}}", "application/json", 400),
    ],
)
async def test_what_is_no_request_is_a_problem(api: Api, content: bytes, content_type: str, status: int) -> None:
    async with api.client() as asking:
        answer = await asking.post("/graphql", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.predecessor("S-70", "S-75")
async def test_anonymous_callers_are_refused_before_their_query_is_read(api: Api) -> None:
    async with api.client(None) as nobody:
        for answer in (
            await nobody.post("/graphql", json={"query": "{ users { items { username } } }"}),
            await nobody.post("/graphql", content=b"nonsense"),
            await nobody.get("/graphql", params={"query": "{ __typename }"}),
            await nobody.post("/graphql", json={"query": "{ __typename }"}, headers={"Authorization": "Bearer ntf_x"}),
        ):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "data" not in answer.json()


@pytest.mark.parametrize(
    ("accept", "media_type", "refused"),
    [
        ("*/*", RESPONSE, 400),
        (RESPONSE, RESPONSE, 400),
        ("application/json", "application/json", 200),
        (f"application/json;q=0.5, {RESPONSE}", RESPONSE, 400),
        ("text/html, application/json;q=0.9", "application/json", 200),
        ("text/html", None, 406),
        ("application/json;q=0", None, 406),
    ],
)
async def test_the_answer_is_of_the_type_that_is_accepted(
    api: Api, accept: str, media_type: str | None, refused: int
) -> None:
    async with api.client() as asking:
        headers = {"Accept": accept}
        good = await asking.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
        bad = await asking.post("/graphql", json={"query": "{ nothing }"}, headers=headers)
    assert bad.status_code == refused
    assert good.status_code == (200 if media_type else 406)
    if media_type:
        assert good.headers["content-type"] == bad.headers["content-type"] == media_type
        assert bad.json().keys() == {"errors"}


async def test_get_asks_and_changes_nothing(api: Api) -> None:
    query = "query Q($limit: Int) { users(limit: $limit) { items { username } } } query R { __typename }"
    change = 'mutation { deleteConfiguration(name: "main") { revision } }'
    async with api.client() as asking:
        parameters = {"query": query, "variables": '{"limit": 1}', "operationName": "Q"}
        answer = await asking.get("/graphql", params=parameters)
        assert answer.json() == {"data": {"users": {"items": [{"username": "alice"}]}}}
        assert (await asking.get("/graphql", params={"query": query})).status_code == 400  # which of the two?
        refused = await asking.get("/graphql", params={"query": change})
        assert refused.status_code == 405
        assert refused.headers["allow"] == "POST"
        assert (await asking.get("/graphql")).status_code == 422
        assert (await asking.get("/graphql", params={"query": query, "variables": "{"})).status_code == 400
        assert (await asking.put("/graphql", json={"query": query})).status_code == 405
    assert await api.parts.services.get("configuration", "main")


async def test_variables_are_taken_strictly(api: Api) -> None:
    query = "query($limit: Int!) { users(limit: $limit) { items { username } } }"
    assert await api.data(query, limit=1)
    for variables in ({}, {"limit": "1"}, {"limit": None}, {"limit": 1, "other": 2}, {"limit": 2**40}):
        assert await api.refused(query, **variables) == "BAD_REQUEST"


async def test_openapi_leaves_it_out(api: Api) -> None:
    async with api.client() as asking:
        assert "/graphql" not in (await asking.get("/openapi.json")).json()["paths"]


# ------------------------------------------------------------------------------------------------------- what it does


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


@pytest.mark.predecessor("S-73")
async def test_a_mutation_sees_what_the_one_before_has_done(own: Api) -> None:
    data = await own.data(
        """mutation {
          a: updateUser(username: "alice", input: {onLeave: true}) { user { onLeave configurations { name } } }
          b: updateConfiguration(name: "main", input: {users: ["alice"]}) { configuration { users { username onLeave } } }
          c: updateUser(username: "bob", input: {onLeave: false}) { user { onLeave configurations { name } } }
          d: deleteUser(username: "bob") { name revision errors { field } }
        }"""
    )
    assert data["a"]["user"]["configurations"] == [{"name": "main"}]
    assert data["b"]["configuration"]["users"] == [{"username": "alice", "onLeave": True}]
    assert data["c"]["user"] == {"onLeave": False, "configurations": []}
    assert data["d"]["name"] == "bob"
    assert data["d"]["errors"] == []


@pytest.mark.predecessor("S-74")
async def test_json_may_be_written_out_and_hold_variables(own: Api) -> None:
    """The parameters of a record as JSON, here without quoting it into a text."""
    query = """mutation($keyword: JSON!) {
      createFilter(input: {
        name: "x", type: "skip_keywords", parameters: {skip_keywords: ["a", $keyword], ignore_case: true, title: null}
      }) { filter { parameters } errors { field messages } }
    }"""
    data = await own.data(query, keyword="b")
    assert data["createFilter"]["filter"]["parameters"] == {
        "skip_keywords": ["a", "b"], "ignore_case": True, "title": None
    }  # fmt: skip
    assert await own.refused(query) == "BAD_REQUEST"  # the variable has no value
    assert (
        await own.refused("mutation { createFilter(input: {parameters: {a: b}}) { errors { field } } }")
        == "BAD_REQUEST"
    )


@pytest.mark.predecessor("S-73")
async def test_what_does_not_fit_is_named_in_the_words_of_the_input(api: Api) -> None:
    """The answer to a mutation holds the object and `errors [{field, messages}]`."""
    query = """mutation($input: UserInput!) {
      createUser(input: $input) { user { username } errors { field messages pointer } }
    }"""
    wrong = {"username": "x", "workingTime": {"start": "25:00", "end": "18:00"}}
    payload = (await api.data(query, input=wrong))["createUser"]
    assert payload["user"] is None
    (fault,) = payload["errors"]
    assert fault["field"] == "workingTime.start"
    assert fault["pointer"] == "/working_time/start"
    assert "00:00" in fault["messages"][0]


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


async def test_what_nobody_foresaw_tells_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr(api.parts.services, "get", fail)
    with caplog.at_level(logging.ERROR, logger="control_api.graphql"):
        answer = await api.ask('{ user(username: "alice") { username } users { items { username } } }')
    assert answer["data"]["user"] is None
    assert answer["data"]["users"]["items"]
    assert answer["errors"][0]["extensions"] == {"code": "INTERNAL", "status": 500}
    assert "house" not in str(answer)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_a_repeated_request_under_a_key_is_done_once(own: Api) -> None:
    body = {"query": 'mutation { createUser(input: {username: "carol"}) { user { username } } }'}
    async with own.client() as asking:
        headers = {"Idempotency-Key": "one"}
        first = await asking.post("/graphql", json=body, headers=headers)
        again = await asking.post("/graphql", json=body, headers=headers)
        assert first.json() == again.json() == {"data": {"createUser": {"user": {"username": "carol"}}}}
        assert again.headers["idempotency-replayed"] == "true"
        # what came to nothing is done anew
        headers = {"Idempotency-Key": "two"}
        body = {"query": 'mutation { deleteUser(username: "dave") { name } }'}
        assert "errors" in (await asking.post("/graphql", json=body, headers=headers)).json()
        await own.parts.services.create(COMMAND_LINE, "user", {"username": "dave"})
        answer = await asking.post("/graphql", json=body, headers=headers)
        assert answer.json() == {"data": {"deleteUser": {"name": "dave"}}}


async def test_running_while_the_broker_is_away_says_so(api: Api) -> None:
    answer = await api.ask('mutation { run(configuration: "main") { tick { scheduledAt } } }', "run")
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert error["extensions"]["retryAfter"] > 0
    assert answer["data"] == {"run": None}
    assert await api.refused('mutation { run(configuration: "none") { tick { scheduledAt } } }', "run") == "NOT_FOUND"


@pytest.mark.predecessor("S-73")
async def test_a_run_writes_a_tick_and_the_history_is_shown(settings: Settings) -> None:
    await upgrade(settings)
    async with serving(settings) as api:
        run = 'mutation { run(configuration: "main") { tick { configuration scheduledAt trigger } errors { field } } }'

        async def ticked() -> JsonObject | None:
            answer = await api.ask(run, "run")
            payload: JsonObject | None = answer["data"]["run"]
            return payload

        payload = await wait_until(ticked)
        tick = payload["tick"]
        assert tick["configuration"] == "main"
        assert tick["trigger"] == "manual"

        async def written() -> bool:
            records = [orjson.loads(record.value) for record in await read_all(settings, "ticks")]
            return tick["scheduledAt"] in [record["scheduled_at"] for record in records]

        await wait_until(written)

        at = "2026-11-23T09:00:00Z"
        attempt = {
            "delivery": "ci/1/main/to-file/alice", "number": 1, "producer": "ci", "message": "1", "configuration": "main",
            "configuration_version": 3, "consumer": "to-file", "recipient": "alice", "outcome": "accepted", "reason": "ok",
            "origin": {"topic": "messages", "partition": 0, "offset": 5_000_000_000}, "started_at": at, "ended_at": at,
        }  # fmt: skip
        letter = {
            "id": "ci/1", "stage": "route", "reason": "invalid", "error": "is no JSON", "topic": "messages",
            "partition": 0, "offset": 5_000_000_000, "timestamp": at, "value": "x", "attempts": 0, "at": at,
        }  # fmt: skip
        done = {
            "configuration": "main", "scheduled_at": at, "trigger": "manual", "state": "done",
            "producers": [{"producer": "disk", "state": "done", "messages": 2}],
        }  # fmt: skip
        await produce(settings, "attempts", [attempt], key=str(attempt["delivery"]))
        await produce(settings, "dead_letters", [letter], key="ci/1")
        await produce(settings, "runs", [done], key=f"main/{at}")
        history = """query($at: String!) {
          attempts(configuration: "main", outcome: "accepted") {
            items { delivery number recipient configurationVersion startedAt origin }
          }
          deadLetters(reason: "invalid") { items { id offset valueOmitted } }
          deadLetter(id: "ci/1") { value error }
          runs(configuration: "main", state: "done") { items { trigger } }
          run(configuration: "main", scheduledAt: $at) { state producers { producer messages } }
        }"""

        async def stored() -> JsonObject | None:
            answer = await api.ask(history, "read", at=at)
            return None if "errors" in answer or not answer["data"]["attempts"]["items"] else answer["data"]

        data = await wait_until(stored)
        assert data["attempts"]["items"] == [
            {
                "delivery": "ci/1/main/to-file/alice", "number": 1, "recipient": "alice", "configurationVersion": 3,
                "startedAt": at, "origin": {"topic": "messages", "partition": 0, "offset": 5_000_000_000},
            }
        ]  # fmt: skip
        assert data["deadLetters"]["items"] == [{"id": "ci/1", "offset": 5_000_000_000, "valueOmitted": False}]
        assert data["deadLetter"] == {"value": "x", "error": "is no JSON"}
        assert data["runs"]["items"] == [{"trigger": "manual"}]
        assert data["run"] == {"state": "done", "producers": [{"producer": "disk", "messages": 2}]}
