"""The examples of OpenAPI: each body has one, each fits its schema, and each is taken."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from control_api.access import tokens
from control_api.app import create_app
from control_api.definitions.spec import name_field
from control_api.migrate import upgrade
from control_api.registry import load_registry
from control_api.rest.examples import ACCOUNT, DOCUMENTS
from notifier.outcome import KINDS
from notifier.settings import Settings
from tests.rigs.kafka_tools import wait_until
from tests.rigs.rest_rig import serving

_FORM = "application/x-www-form-urlencoded"


def bodies(described: dict[str, Any]) -> list[tuple[str, str, str, Any, Any]]:
    """Method, path, media type, schema and example of each body; the order in which they can be asked."""
    found = [
        (method.upper(), path, media_type, content["schema"], content.get("example"))
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
    ]
    order = {"POST": 0, "PUT": 1, "PATCH": 2}
    first = [f"/api/v1/{kind}s" for kind in KINDS]
    return sorted(found, key=lambda one: (order[one[0]], first.index(one[1]) if one[1] in first else len(first)))


def address(path: str) -> str:
    for kind in KINDS:
        document = DOCUMENTS[kind]
        path = path.replace(f"/{kind}s/{{{name_field(kind)}}}", f"/{kind}s/{document[name_field(kind)]}")
    return (
        path.replace("{producer}", "builds")
        .replace("{door}", "json")
        .replace("/producers/builds/pause", "/producers/asked/pause")  # of what is only pushed nothing is to be paused
        .replace("/accounts/{name}", f"/accounts/{ACCOUNT['name']}")
    )


async def test_each_body_has_an_example_that_is_taken(settings: Settings) -> None:
    await upgrade(settings)
    bearer = {"admin": await tokens.create_token(settings, name="admin", scopes=["admin"])}
    app = create_app(settings, registry=load_registry())
    async with serving(app, bearer) as rest:
        asking = rest.client("admin")

        async def is_ready() -> bool:
            return (await asking.get("/health/ready")).status_code == 200

        await wait_until(is_ready)
        described = (await asking.get("/openapi.json")).json()
        found = bodies(described)
        assert {one[1] for one in found} >= {"/api/v1/messages", "/api/v1/tokens", "/api/v1/definitions"}
        asked = {"name": "asked", "type": "github", "parameters": {"repository": "octocat/hello"}}
        assert (await asking.post("/api/v1/producers", json=asked)).status_code == 201
        for method, path, media_type, schema, example in found:
            assert example is not None, f"{method} {path} has no example of {media_type}"
            validator = Draft202012Validator({**schema, "components": described["components"]})
            assert [error.message for error in validator.iter_errors(example)] == [], (method, path)
            if path.endswith("/rollback"):  # which version there is depends on what happened before
                history = await asking.get(address(path).replace("/rollback", "/history"))
                example = {"version": history.json()["items"][-1]["version"]}
            sent: dict[str, Any] = {"content": example if isinstance(example, str) else json.dumps(example)}
            if media_type == _FORM:
                sent = {"data": example}
            headers = {"Content-Type": media_type, "X-GitHub-Event": "ping", "X-GitHub-Delivery": "1"}
            answer = await asking.request(method, address(path), headers=headers, **sent)
            assert answer.is_success, (method, path, media_type, answer.text)
