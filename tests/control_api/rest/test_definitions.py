"""Definitions over REST. The table of cases is shared with GraphQL; here is also what only HTTP has."""

import httpx
import pytest

from control_api.definitions.spec import name_field
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject
from tests.rigs.definition_cases import PARAMETERS, SECRET, Case
from tests.rigs.problems import pointers, problem
from tests.rigs.rest_rig import Rest, address

STATUS = {"unknown": 404, "conflict": 409, "stale": 412, "forbidden": 403, "invalid": 422}


async def _ask(rest: Rest, case: Case) -> httpx.Response:
    path = address(case.kind, case.name)
    headers = {}
    if case.if_match != "none":
        tag = (await rest.client().get(path)).headers["etag"]
        if case.if_match == "stale":
            field: JsonObject = (
                {"title": "Meanwhile"} if case.kind != "user" else {"additional_info": {"meanwhile": {}}}
            )
            assert (await rest.client().patch(path, json=field)).status_code == 200
        headers["If-Match"] = tag
    asking = rest.client(case.scope)
    match case.do:
        case "create":
            return await asking.post(path, json=case.written, headers=headers)
        case "update":
            return await asking.patch(path, json=case.written, headers=headers)
        case "delete":
            return await asking.delete(path, headers=headers)
        case _:
            return await asking.get(path, params=dict(case.written), headers=headers)


async def _everything(rest: Rest) -> list[JsonObject]:
    reader = rest.client("read")
    return [item for kind in KINDS for item in (await reader.get(address(kind))).json()["items"]]


@pytest.mark.parametrize("case", PARAMETERS)
async def test_definitions(rest: Rest, case: Case) -> None:
    before = await _everything(rest)
    answer = await _ask(rest, case)
    assert SECRET not in answer.text
    if case.expect != "done":
        problem(answer, STATUS[case.expect])
        if case.expect == "invalid":
            assert sorted(pointers(answer)) == sorted(case.pointers)
        if case.if_match == "none":
            assert await _everything(rest) == before
        return
    match case.do:
        case "delete":
            assert (answer.status_code, answer.content) == (204, b"")
            problem(await rest.client("read").get(address(case.kind, case.name)), 404)
        case "list":
            found = answer.json()
            assert [item[name_field(case.kind)] for item in found["items"]] == list(case.names)
        case _:
            assert answer.status_code == (201 if case.do == "create" else 200), answer.text
            shown = answer.json()
            assert {key: shown[key] for key in case.shows} == case.shows
            name = shown[name_field(case.kind)]
            again = await rest.client("read").get(address(case.kind, name))
            assert (again.json(), again.headers["etag"]) == (shown, answer.headers["etag"])


NEW: dict[Kind, JsonObject] = {
    "user": {"username": "zoë+1@x.org"},
    "group": {"name": "zoe", "members": ["alice", "bob"], "additional_info": {"github": {"username": "o/team"}}},
    "script": {"name": "zoe", "content": "true"},
    "template": {"name": "zoe", "content": '{% include "footer" %}'},
    "mapping": {"name": "zoe", "producers": ["ci"], "set": {"labels": {"team": "infra"}}},
    "producer": {"name": "zoe", "type": "push", "parameters": {"webhook_secret": "a secret"}},
    "filter": {"name": "zoe", "type": "severity", "parameters": {"at_least": "error"}},
    "consumer": {"name": "zoe", "type": "script", "parameters": {"script": "unused"}},
    "configuration": {"name": "zoe", "users": ["alice"], "schedule": {"cron": "@daily"}},
}


@pytest.mark.predecessor("S-5", "S-7", "S-8", "S-53", "S-63", "S-77")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_definition_lives_and_is_found_by_its_address(rest: Rest, kind: Kind) -> None:
    admin = rest.client()
    shown_wrong = {"problem": "a role cannot use it"}  # which a document as it is shown may say
    made = await admin.post(address(kind), json={**NEW[kind], **shown_wrong})
    assert made.status_code == 201, made.text
    name = NEW[kind][name_field(kind)]
    assert httpx.URL(made.headers["location"]).path == f"/api/v1/{kind}s/{name}"
    shown = await admin.get(made.headers["location"])
    assert (shown.json(), shown.headers["etag"]) == (made.json(), made.headers["etag"])
    problem(await admin.post(address(kind), json=NEW[kind]), 409)

    # What is shown may be written back, secrets included; then nothing changes, nor does the version.
    path = made.headers["location"]
    for write in (admin.put, admin.patch):
        same = await write(path, json={**shown.json(), **shown_wrong})
        assert (same.status_code, same.json(), same.headers["etag"]) == (200, shown.json(), made.headers["etag"])
    nameless = {key: value for key, value in shown.json().items() if key != name_field(kind)}
    assert (await admin.put(path, json=nameless)).headers["etag"] == made.headers["etag"]

    field: JsonObject = {"on_leave": True} if kind == "user" else {"title": "Zoë"}
    changed = await admin.put(path, json={**nameless, **field})
    assert changed.status_code == 200
    assert changed.json() == {**shown.json(), **field}
    assert changed.headers["etag"] != made.headers["etag"]
    back = await admin.patch(path, json=dict.fromkeys(field))
    assert back.json() == shown.json()
    assert (await admin.delete(path)).status_code == 204
    for answer in (await admin.get(path), await admin.put(path, json=nameless), await admin.delete(path)):
        problem(answer, 404)


async def test_replacing_goes_back_to_defaults_and_keeps_secrets(rest: Rest) -> None:
    writer = rest.client("write")
    replaced = await writer.put(address("producer", "ci"), json={"type": "push"})
    assert replaced.json()["title"] is None
    assert replaced.json()["parameters"] == {"webhook_secret": {"set": True}}
    replaced = await writer.put(address("configuration", "main"), json={"consumers": ["to-file"]})
    assert (replaced.json()["users"], replaced.json()["schedule"]) == ([], None)
    assert pointers(await writer.put(address("producer", "ci"), json={"name": "other", "type": "push"})) == ["/name"]
    assert pointers(await writer.put(address("producer", "ci"), json={"type": "push", "colour": 1})) == ["/colour"]


async def test_if_match(rest: Rest) -> None:
    admin = rest.client()
    path = address("user", "alice")
    tag = (await admin.get(path)).headers["etag"]

    async def change(header: str, on_leave: bool) -> httpx.Response:
        return await admin.patch(path, json={"on_leave": on_leave}, headers={"If-Match": header})

    newest = tag
    for on_leave, header in enumerate(["{}", "*", '"x", {}', '"0",{} , W/"1"', ' "999999" , {} ']):
        answer = await change(header.format(newest), bool(on_leave % 2 == 0))
        assert answer.status_code == 200, (header, answer.text)
        newest = answer.headers["etag"]
    for header in (tag, f"W/{newest}", '"x"', f'"999999", {tag}', '""', f"W/{newest}, {tag}"):
        problem(await change(header, False), 412)
    for header in (newest.strip('"'), f"{newest},", "latest", f"{newest} {newest}"):
        assert "If-Match" in problem(await change(header, False), 400)["detail"]
    problem(await admin.put(path, json={}, headers={"If-Match": tag}), 412)
    problem(await admin.delete(address("user", "bob"), headers={"If-Match": tag}), 412)
    for header in (tag, '"x"', "*"):
        problem(await admin.delete(address("user", "nobody"), headers={"If-Match": header}), 404)
    assert (await admin.get(path)).headers["etag"] == newest


@pytest.mark.parametrize(
    ("method", "content_type", "body", "status"),
    [
        ("PATCH", "application/merge-patch+json", b'{"on_leave": true}', 200),
        ("PATCH", "application/json; charset=utf-8", b'{"on_leave": true}', 200),
        ("PATCH", "application/json-patch+json", b"[]", 415),
        ("PATCH", "text/plain", b"{}", 415),
        ("PUT", "application/merge-patch+json", b"{}", 415),
        ("POST", "application/merge-patch+json", b'{"username": "x"}', 415),
        ("POST", "application/x-www-form-urlencoded", b"username=x", 415),
        ("POST", "application/json", b"", 400),
        ("POST", "application/json", b"{", 400),
        ("POST", "application/json", b'{"username": "\xff"}', 400),
        ("PUT", "application/json", b'{"on_leave": NaN}', 400),
        ("PUT", "application/json", b"[" * 100 + b"]" * 100, 400),
        ("POST", "application/json", b"[]", 422),
        ("PUT", "application/json", b"null", 422),
        ("PATCH", "application/merge-patch+json", b"7", 422),
        ("PATCH", "application/json", b'{"additional_info": {"a": {"b": "\\u0000"}}}', 422),
        ("PUT", "application/json", b'{"additional_info": "' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
async def test_bodies(rest: Rest, method: str, content_type: str, body: bytes, status: int) -> None:
    path = address("user") if method == "POST" else address("user", "alice")
    answer = await rest.client().request(method, path, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    if status >= 400:
        problem(answer, status)


@pytest.mark.parametrize(
    ("method", "path", "pointer"),
    [
        ("GET", "/api/v1/users?limit=0", "/limit"),
        ("GET", "/api/v1/users?limit=many", "/limit"),
        ("GET", "/api/v1/users?cursor=%21", "/cursor"),
        ("GET", "/api/v1/users?name=alice", "/name"),
        ("POST", "/api/v1/users?verify=true", "/verify"),
        ("POST", "/api/v1/producers?verify=perhaps", "/verify"),
        ("PATCH", "/api/v1/filters/loud?verify=true", "/verify"),
        ("PUT", "/api/v1/consumers/to-file?check=true", "/check"),
    ],
)
async def test_unknown_parameters_are_refused(rest: Rest, method: str, path: str, pointer: str) -> None:
    body: JsonObject | None = None if method == "GET" else {}
    assert pointers(await rest.client().request(method, path, json=body)) == [pointer]


async def test_a_list_is_read_page_by_page(rest: Rest) -> None:
    admin = rest.client()
    names = [f"{'ж' * 148}{number:02}" for number in range(5)]  # as long as a name may be, two bytes a letter
    for name in names:
        assert (await admin.post(address("user"), json={"username": name})).status_code == 201
    assert (await admin.get(address("user", names[0]))).json()["username"] == names[0]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        asked = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        found = (await admin.get(address("user"), params=asked)).json()
        assert len(found["items"]) <= 2
        seen += [user["username"] for user in found["items"]]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert seen == ["alice", "bob", *names]


@pytest.mark.parametrize("name", ["no%2Fbody", "Nobody", "%00", "a%20b", "x" * 200, "%F0%9F%98%80"])
async def test_what_cannot_be_a_name_is_not_there(rest: Rest, name: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await rest.client().request(method, f"/api/v1/producers/{name}")
        problem(answer, 400 if name == "%00" else 404)


async def test_a_post_under_the_same_key_is_done_once(rest: Rest) -> None:
    writer = rest.client("write")
    headers = {"Idempotency-Key": "one"}
    first = await writer.post(address("user"), json={"username": "zoe"}, headers=headers)
    again = await writer.post(address("user"), json={"username": "zoe"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    for name in ("etag", "location"):
        assert again.headers[name] == first.headers[name]
    problem(await writer.post(address("user"), json={"username": "zac"}, headers=headers), 422)
    refused = await writer.post(address("user"), json={"username": "alice"}, headers={"Idempotency-Key": "two"})
    problem(refused, 409)


async def test_who_still_refers_to_it_is_told(rest: Rest) -> None:
    admin = rest.client()
    told = problem(await admin.delete(address("script", "disk-space")), 409)["detail"]
    assert "producer/disk" in told
    assert "consumer/to-file" in told


async def test_the_description_has_the_model_of_each_kind(rest: Rest) -> None:
    description = (await rest.client("read").get("/openapi.json")).json()
    schemas = description["components"]["schemas"]
    for kind in KINDS:
        model, field = kind.capitalize(), name_field(kind)
        assert schemas[model]["additionalProperties"] is False
        assert field in schemas[model]["required"]
        assert field not in schemas[f"{model}Replacement"]["required"]
        assert field in schemas[f"{model}Replacement"]["properties"]
        paths = description["paths"]
        one = paths[f"/api/v1/{kind}s/{{{field}}}"]
        assert {parameter["name"] for parameter in one["get"]["parameters"]} == {field}
        assert set(one["patch"]["requestBody"]["content"]) == {"application/merge-patch+json", "application/json"}
        for method in ("put", "patch", "delete"):
            assert "If-Match" in {parameter["name"] for parameter in one[method]["parameters"]}
            assert "412" in one[method]["responses"]
        create = paths[f"/api/v1/{kind}s"]["post"]
        asked = {parameter["name"] for parameter in create["parameters"]}
        assert ("verify" in asked) is (kind in ("producer", "consumer"))
        assert set(create["responses"]["201"]["headers"]) == {"ETag", "Location"}
        assert create["requestBody"]["content"]["application/json"]["schema"] == {
            "$ref": f"#/components/schemas/{model}"
        }
