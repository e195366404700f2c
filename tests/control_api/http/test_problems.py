"""Problems: every error answer is one, and the description names it."""

import json
import re

import pytest

from tests.rigs.api_rig import Api
from tests.rigs.problems import problem


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/messages/", 404),
        ("GET", "/redoc", 404),
        ("DELETE", "/api/v1/messages", 405),
        ("PUT", "/api/v1/attempts", 405),
        ("PURGE", "/health/live", 405),
        ("BREW", "/health/live", 400),
        ("GET", "/api/v1/attempts?limit=0", 422),
        ("GET", "/api/v1/attempts?limit=501", 422),
        ("GET", "/api/v1/attempts?limit=ten", 422),
        ("GET", "/api/v1/attempts?color=red", 422),
        ("GET", "/api/v1/attempts?cursor=zz", 422),
        ("GET", "/api/v1/attempts?cursor=99999999999999999999", 422),
        ("GET", "/api/v1/attempts?outcome=great", 422),
        ("GET", "/api/v1/attempts?message=%00", 400),
        ("GET", "/api/v1/dead_letters/a%00b", 400),
        ("GET", "/api/v1/dead_letters?q=x", 422),
        ("GET", "/api/v1/dead_letters/nobody", 404),
        ("GET", "/api/v1/runs/to-chat/yesterday", 422),
        ("GET", "/api/v1/runs/to-chat/2026-01-01T00:00:00", 422),
        ("GET", "/api/v1/runs/to-chat/2026-01-01T00:00:00Z", 404),
        ("GET", "/api/v1/plugins?kind=user", 422),
        ("GET", "/api/v1/schemas/Nothing", 404),
        ("GET", "/api/v1/tokens/nobody", 404),
        ("DELETE", "/api/v1/tokens/nobody", 404),
        ("POST", "/api/v1/tokens", 400),
    ],
)
async def test_every_error_is_a_problem(api: Api, method: str, path: str, status: int) -> None:
    async with api.client() as admin:
        answer = await admin.request(method, path)
    body = problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]
    if status == 422:
        assert body["errors"]
        assert all(error["pointer"].startswith("/") and error["detail"] for error in body["errors"])


async def test_the_description_names_every_problem_and_needs_nothing_from_elsewhere(api: Api) -> None:
    async with api.client("read") as reader:
        description = (await reader.get("/openapi.json")).json()
    assert description["openapi"].startswith("3.1")
    assert "Problem" in description["components"]["schemas"]
    assert "HTTPValidationError" not in description["components"]["schemas"]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            if path.startswith("/health"):
                continue
            answers = operation["responses"]
            assert {"401", "403", "500", "503"} <= set(answers), path
            if "requestBody" in operation or path.endswith("/run"):
                assert {"408", "413"} <= set(answers), path
            for status, answer in answers.items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
            if method == "post":
                assert "Idempotency-Key" in {one["name"] for one in operation["parameters"]}
    references = re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', json.dumps(description))
    assert set(references) <= set(description["components"]["schemas"])
