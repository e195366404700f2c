"""`POST /definitions`: the object of a YAML file as one change."""

from typing import Any

import pytest

from control_api.app import create_app
from control_api.registry import load_registry
from notifier.settings import Settings
from tests.rigs.definition_cases import BASE, SECRET
from tests.rigs.rest_rig import Rest, prepare, serving

pytest_plugins = ["tests.rigs.databases"]

PATH = "/api/v1/definitions"


@pytest.fixture
async def rest(alone: Settings) -> Any:
    registry = load_registry()
    bearer = await prepare(alone, registry)
    async with serving(create_app(alone, registry=registry), bearer) as rest:
        yield rest


async def revision(rest: Rest) -> str:
    return (await rest.client().get("/api/v1/configurations/main")).headers["etag"]


async def test_an_object_is_applied_as_one_change_and_a_dry_run_answers_its_plan(rest: Rest) -> None:
    body = {
        "x-note": ["anything"],
        "users": [{"username": "bob", "on_leave": False}, {"username": "erin", "problem": "of an answer"}],
        "producers": [{"name": "ci", "type": "push", "title": "All builds"}],
        "configurations": [{"name": "new", "users": ["erin"], "producers": ["ci"]}],
        "scripts": None,
    }
    planned = await rest.client("write").post(PATH, params={"dry_run": True}, json=body)
    assert planned.status_code == 200, planned.text
    expected = {
        "dry_run": True, "revision": None, "created": 2, "changed": 2, "deleted": 0, "unchanged": 0,
        "changes": [
            {"action": "changed", "kind": "user", "name": "bob",
             "differences": [{"path": "on_leave", "before": "true", "after": "(none)"}]},
            {"action": "created", "kind": "user", "name": "erin", "differences": []},
            {"action": "changed", "kind": "producer", "name": "ci",
             "differences": [{"path": "title", "before": '"Builds"', "after": '"All builds"'}]},
            {"action": "created", "kind": "configuration", "name": "new", "differences": []},
        ],
    }  # fmt: skip
    assert planned.json() == expected
    assert (await rest.client().get("/api/v1/users/erin")).status_code == 404
    headers = {"Idempotency-Key": "once"}
    done = await rest.client("write").post(PATH, json=body, headers=headers)
    assert done.json() == {**expected, "dry_run": False, "revision": done.json()["revision"]}
    again = await rest.client("write").post(PATH, json=body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    etags = {(await rest.client().get(f"/api/v1/users/{name}")).headers["etag"] for name in ("bob", "erin")}
    assert etags == {f'"{done.json()["revision"]}"'}
    # the secret that the body leaves out is kept
    kept = (await rest.client().get("/api/v1/producers/ci")).json()
    assert kept["parameters"] == {"webhook_secret": {"set": True}}
    assert (await rest.client("write").post(PATH, json=body)).json()["revision"] is None


async def test_pruning_deletes_what_is_not_named_and_scripts_need_admin(rest: Rest) -> None:
    body: dict[str, list[Any]] = {}
    for kind, document in BASE:
        if document.get("name") != "unused":
            body.setdefault(f"{kind}s", []).append(document)
    assert SECRET in str(body)
    plain = await rest.client("write").post(PATH, json=body)
    assert plain.status_code == 200, plain.text  # scripts are as they were
    assert plain.json()["unchanged"] == len(BASE) - 1
    for parameters in ({"prune": True}, {"prune": True, "dry_run": True}):
        refused = await rest.client("write").post(PATH, params=parameters, json=body)
        assert refused.status_code == 403
    done = await rest.client("admin").post(PATH, params={"prune": True}, json=body)
    assert [(one["action"], one["name"]) for one in done.json()["changes"]] == [("deleted", "unused")]
    nothing = await rest.client("admin").post(PATH, params={"prune": True}, json={})
    assert nothing.status_code == 422
    assert (await rest.client("write").post(PATH, json={"scripts": [{"name": "x", "content": "y"}]})).status_code == 403
    assert (await rest.client("read").post(PATH, params={"dry_run": True}, json={})).status_code == 403


WRONG: list[tuple[str, Any, int, list[str]]] = [
    ("no object", [1], 422, [""]),
    ("unknown kind", {"user": []}, 422, ["/user"]),
    ("no list", {"users": {}}, 422, ["/users"]),
    ("no object in a list", {"users": [1]}, 422, ["/users/0"]),
    ("no name", {"users": [{"username": "x"}, {}]}, 422, ["/users/1/username"]),
    ("unknown field", {"users": [{"username": "x", "onleave": 1}]}, 422, ["/users/0/onleave"]),
    ("twice", {"users": [{"username": "x"}, {"username": "X"}]}, 422, ["/users/1"]),
    ("reference to nothing", {"configurations": [{"name": "c", "users": ["nobody"]}]}, 422, ["/configurations/0/users/0"]),
    ("parameter", {"filters": [{"name": "f", "type": "severity", "parameters": {"at_least": "odd"}}]}, 422,
     ["/filters/0/parameters/at_least"]),
    ("a variable", {"producers": [{"name": "p", "type": "push", "parameters": {"webhook_secret": "${HOME}"}}]}, 422,
     ["/producers/0/parameters/webhook_secret"]),
    ("a file", {"scripts": [{"name": "s", "file": "/etc/hostname"}]}, 422, ["/scripts/0/content", "/scripts/0/file"]),
    ("many", {"users": [{"username": f"u{n}", "x": 1} for n in range(30)]}, 422, [*(f"/users/{n}/x" for n in range(20)), ""]),
    ("many unknown kinds", {f"usrs{n}": [] for n in range(25)}, 422, [*(f"/usrs{n}" for n in range(20)), ""]),
    ("too many", {"users": [{}] * 6000, "groups": [{}] * 4001}, 422, [""]),
    ("case of a stored one", {"users": [{"username": "ALICE"}]}, 200, []),
]  # fmt: skip


async def test_what_is_wrong_is_named_by_pointer_and_nothing_is_done(rest: Rest) -> None:
    before = await revision(rest)
    for case, body, status, pointers in WRONG:
        if isinstance(body, dict):
            body = {**body, "consumers": [{"name": "to-file", "type": "script", "parameters": {"script": "unused"}}]}
        answer = await rest.client().post(PATH, json=body)
        assert answer.status_code == status, (case, answer.text)
        found = [error["pointer"] for error in answer.json().get("errors", ())]
        assert sorted(found) == sorted(pointers), case
        consumer = (await rest.client().get("/api/v1/consumers/to-file")).json()
        assert (consumer["parameters"]["script"] == "unused") is (status == 200), case
    assert await revision(rest) == before
    assert (await rest.client().post(PATH, params={"dryrun": True}, json={})).status_code == 422
    assert (await rest.client().post(PATH, content=b"x")).status_code == 415


async def test_what_changes_in_many_fields_shows_the_first_and_counts_the_others(rest: Rest) -> None:
    def users(value: int) -> dict[str, Any]:
        return {"users": [{"username": "bob", "additional_info": {"mail": {f"k{n}": value for n in range(250)}}}]}

    await rest.client("write").post(PATH, json=users(0))
    (change,) = (await rest.client("write").post(PATH, json=users(1))).json()["changes"]
    assert [one["path"] for one in change["differences"]] == [f"additional_info.mail.k{n}" for n in range(200)]
    assert change["more"] == 50


async def test_many_definitions_are_written_whole_and_in_their_order(rest: Rest) -> None:
    body: dict[str, list[dict[str, Any]]] = {
        "users": [{"username": f"u{n}"} for n in range(250)],
        "groups": [{"name": "all", "members": ["u249"]}],
    }
    for title in ("created", "changed"):
        body["users"] = [{**user, "on_leave": title == "changed"} for user in body["users"]]
        done = (await rest.client("write").post(PATH, json=body)).json()
        assert done[title] >= 250, done
        entries = (await rest.client().get("/api/v1/audit", params={"limit": 300})).json()["items"]
        named = [entry["name"] for entry in entries if entry["kind"] == "user"][:250]
        assert named == [f"u{n}" for n in reversed(range(250))]
