"""GraphQL over HTTP: requests, media types, variables, idempotency keys, and unexpected errors."""

import json
import logging
from typing import Any

import pytest

from control_api.access.actor import COMMAND_LINE
from notifier.record import JsonObject
from tests.rigs.graphql_api import RESPONSE, Api

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


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
        ("*/*", "application/json", 200),
        ("application/*", "application/json", 200),
        (f"{RESPONSE}, application/json", RESPONSE, 400),
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
        headers = {"Accept": RESPONSE}
        assert (await asking.get("/graphql", params={"query": query}, headers=headers)).status_code == 400  # which one?
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
    for variables in ({}, {"limit": "1"}, {"limit": None}, {"limit": 2**40}):
        assert await api.refused(query, **variables) == "BAD_REQUEST"


TWO = "query A($q: String) { users(q: $q) { items { username } } } query B { users { items { username } } }"
ONE = "{ users { items { username } } }"


@pytest.mark.parametrize(
    "fields",
    [
        {"query": TWO, "operationName": "B", "variables": {"q": "a"}},
        {"query": TWO, "operationName": "A", "variables": {"q": None, "more": {"x": []}}},
        {"query": ONE, "operationName": ""},
        {"query": ONE, "operationName": None, "variables": None, "extensions": None},
        {"query": ONE, "variables": {"unused": 1}, "extensions": {"clientLibrary": {"name": "x"}}},
        {"query": ONE, "variables": {}, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "00"}}},
    ],
)
async def test_what_clients_send_within_the_specification_is_served(api: Api, fields: JsonObject) -> None:
    async with api.client() as asking:
        answer = await asking.post("/graphql", json=fields)
        assert answer.json()["data"]["users"]["items"], answer.text
        # In an address an absent field is often there and empty.
        address = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in fields.items()
            if name != "operationName" or value is not None
        }
        answer = await asking.get(
            "/graphql", params={"operationName": "", "variables": "", "extensions": "", **address}
        )
        assert answer.json()["data"]["users"]["items"], answer.text


async def test_a_client_that_sends_a_sum_is_told_to_send_the_query(api: Api) -> None:
    async with api.client() as asking:
        fields = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "00"}}}
        (error,) = (await asking.post("/graphql", json=fields)).json()["errors"]
    assert error["message"] == "PersistedQueryNotSupported"
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_SUPPORTED"


async def test_of_several_operations_one_is_named(api: Api) -> None:
    for name in ("", "C"):
        async with api.client() as asking:
            answer = (await asking.post("/graphql", json={"query": TWO, "operationName": name})).json()
        assert answer["errors"][0]["message"] == "`operationName` must name one of the operations in the query"


async def test_openapi_leaves_it_out(api: Api) -> None:
    async with api.client() as asking:
        assert "/graphql" not in (await asking.get("/openapi.json")).json()["paths"]


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
