"""GraphQL does what REST does: one table of operations through both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.spec import name_field
from control_api.graphql.errors import camel
from notifier.definition import SPECS
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject
from notifier.settings import Settings
from tests.rigs.definition_cases import BASE, CASES, SECRET, Case, Expected
from tests.rigs.graphql_api import Api, serving

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


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


NAMING: tuple[Kind, ...] = ("configuration", "group", "mapping")  # kinds that name others
_SELECTIONS: dict[Kind, str] = {
    "user": ("username onLeave workingTime { start end days timezone } language additionalInfo mutedUntil muted etag"),
    "group": "name title members { username } additionalInfo etag",
    "script": "name title executor content etag",
    "template": "name title content etag",
    "mapping": "name title order producers { name } matchers set { labels title severity receiver } table { key rows } etag",
    "producer": "name title type parameters etag",
    "filter": "name title type parameters etag",
    "consumer": "name title type parameters subject template etag",
    "configuration": (
        "name title users { username } producers { name } filters { name } consumers { name }"
        " schedule { cron timezone missed } subject template enabled etag"
    ),
}


async def by_graphql(api: Api, case: Case, etag: str | None) -> Outcome:
    word, key, shown = case.kind.capitalize(), name_field(case.kind), _SELECTIONS[case.kind]
    may_read = case.scope in ("read", "admin")
    if case.kind in NAMING and not may_read:  # what it names is more than what was written
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
    if document is not None and case.kind in NAMING and not {"users", "members", "producers"} & document.keys():
        return await by_graphql(api, Case(id="", do="get", kind=case.kind, name=document["name"], scope="read"), None)
    return Outcome(
        "done", document=_snake(case.kind, document or {}), names=tuple(item[key] for item in did.get("items", ()))
    )


def _camel(kind: Kind, document: Mapping[str, Any]) -> JsonObject:
    return {camel(name): value for name, value in document.items()}


def _snake(kind: Kind, document: JsonObject) -> JsonObject:
    words = {camel(name): name for name in SPECS[kind].model_fields}
    plain = {words.get(name, name): value for name, value in document.items()}
    if kind in NAMING:
        for other in {"users", "producers", "filters", "consumers", "members"} & plain.keys():
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
