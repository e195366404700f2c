"""What an error answer of the control API must look like."""

import httpx

from notifier.record import JsonObject


def problem(response: httpx.Response, status: int) -> JsonObject:
    """The problem that an answer is; fails when it is not a whole one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: JsonObject = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"] == "about:blank"
    assert body["detail"]
    return body


def pointers(response: httpx.Response) -> list[str]:
    """Which fields a 422 names."""
    return [error["pointer"] for error in problem(response, 422)["errors"]]
