"""Authorization: each route is open to its scope, and to no other."""

import re

import pytest

from control_api.access.actor import SCOPES
from control_api.app import create_app
from control_api.http.auth import check_guarded
from notifier.settings import Settings
from tests.rigs.api_rig import REGISTRY, SCOPE_OF, Api, client
from tests.rigs.problems import problem


@pytest.mark.predecessor("S-62")
async def test_every_route_is_open_to_its_scope_and_to_no_other(api: Api) -> None:
    async with api.client("read") as reader:
        description = (await reader.get("/openapi.json")).json()
    routes = {f"{method.upper()} {path}" for path, one in description["paths"].items() for method in one}
    assert routes == set(SCOPE_OF), "say here which scope a new route needs"
    for route, needed in SCOPE_OF.items():
        method, path = route.split(" ")
        path = path.replace("{scheduled_at}", "2026-01-01T00:00:00Z")
        path = re.sub(r"\{\w+\}", "nobody", path)
        async with client(api.url) as nobody:
            answer = await nobody.request(method, path)
            assert (answer.status_code == 401) is (needed is not None), route
            if needed is not None:
                problem(answer, 401)
                assert answer.headers["www-authenticate"].startswith("Bearer")
        for scope in SCOPES:
            async with api.client(scope) as asking:
                answer = await asking.request(method, path)
            allowed = needed in (None, scope) or scope == "admin"
            assert (answer.status_code not in (401, 403)) is allowed, (route, scope, answer.text)
            if not allowed:
                problem(answer, 403)


def test_an_app_with_a_route_that_says_no_scope_does_not_start(settings: Settings) -> None:
    app = create_app(settings, registry=REGISTRY)

    @app.get("/secret")
    async def forgotten() -> str:
        return "everything"

    app.openapi_schema = None
    with pytest.raises(RuntimeError, match="GET /secret says no scope"):
        check_guarded(app)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer ntf_0123456789abcdef_" + "A" * 43,
        "Bearer ntf__",
        "Bearer " + "x" * 5000,
        "Bearer ntf_é",
    ],
)
async def test_what_is_no_token_is_refused(api: Api, header: str) -> None:
    async with client(api.url) as asking:
        answer = await asking.get("/api/v1/plugins", headers=[(b"Authorization", header.encode())])
    problem(answer, 401)
