"""Pages: every list has `limit` and `cursor`, skips and repeats nothing, and refuses what is no cursor."""

from base64 import urlsafe_b64encode
from typing import Any

import httpx
import pytest

from tests.rigs.api_rig import SCOPE_OF, Api
from tests.rigs.problems import pointers, problem


async def all_of(asking: httpx.AsyncClient, path: str, limit: int, meanwhile: Any = None) -> list[Any]:
    found: list[Any] = []
    parameters: dict[str, Any] = {"limit": limit}
    while True:
        body = (await asking.get(path, params=parameters)).json()
        assert len(body["items"]) <= limit
        found += body["items"]
        if body["next_cursor"] is None:
            return found
        assert len(body["items"]) == limit
        parameters["cursor"] = body["next_cursor"]
        if meanwhile is not None:
            await meanwhile()


async def test_every_list_of_the_description_has_pages(api: Api) -> None:
    async with api.client() as asking:
        described = (await asking.get("/openapi.json")).json()
        lists = [
            path
            for path, operations in described["paths"].items()
            if "get" in operations and not path.endswith("}") and _is_page(operations["get"])
        ]
        assert {"/api/v1/plugins", "/api/v1/tokens", "/api/v1/status", "/api/v1/schemas", "/api/v1/users"} <= set(lists)
        assert {route.removeprefix("GET ") for route in SCOPE_OF if route.startswith("GET ")} >= set(lists)
        walked: set[str] = set()
        for described_path in lists:
            found = {parameter["name"] for parameter in described["paths"][described_path]["get"]["parameters"]}
            assert {"limit", "cursor"} <= found, described_path
            path = await _of_one(asking, described_path)
            if path is None:
                continue
            walked.add(described_path)
            whole = await all_of(asking, path, 500)
            if path != "/api/v1/status":  # whose times change
                assert await all_of(asking, path, 1) == whole, path
            for cursor in ("!", "x", urlsafe_b64encode(b"\0").decode(), urlsafe_b64encode(b"\xff").decode(), "0"):
                problem(await asking.get(path, params={"cursor": cursor}), 422)
            assert pointers(await asking.get(path, params={"limit": 0})) == ["/limit"]
            assert pointers(await asking.get(path, params={"color": 1})) == ["/color"]
        assert walked >= {"/api/v1/audit", "/api/v1/accounts", "/api/v1/producers/{name}/history"}


async def _of_one(asking: httpx.AsyncClient, path: str) -> str | None:
    """The path with the name of a definition that is there, where it has a place for one; None: there is none."""
    if "{" not in path:
        return path
    kind, _, rest = path.partition("/{")
    items = (await asking.get(kind, params={"limit": 1})).json()["items"]
    if not items:
        return None
    (first,) = items
    return f"{kind}/{first.get('username') or first['name']}/{rest.partition('}/')[2]}"


def _is_page(operation: dict[str, Any]) -> bool:
    content = operation["responses"]["200"].get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return schema.get("$ref", "").endswith("/Page") or "next_cursor" in schema.get("properties", {})


async def test_what_comes_meanwhile_repeats_and_skips_no_token(api: Api) -> None:
    async with api.client() as asking:
        before = [token["id"] for token in await all_of(asking, "/api/v1/tokens", 500)]
        made = 0

        async def make() -> None:
            nonlocal made
            made += 1
            await asking.post("/api/v1/tokens", json={"name": f"n{made}", "scopes": ["read"]})

        assert [token["id"] for token in await all_of(asking, "/api/v1/tokens", 2, meanwhile=make)] == before
        assert made >= 2
        assert len(await all_of(asking, "/api/v1/tokens", 500)) == len(before) + made


@pytest.mark.parametrize("kind", ["producer", "filter", "consumer"])
async def test_a_condition_holds_on_every_page(api: Api, kind: str) -> None:
    async with api.client("read") as asking:
        found = await all_of(asking, f"/api/v1/plugins?kind={kind}", 1)
        assert found
        assert {one["kind"] for one in found} <= {"producer", "filter", "consumer"}
