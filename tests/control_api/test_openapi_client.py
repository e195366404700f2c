"""A client that reads our OpenAPI and asks what it allows, and what it does not: no 5xx, and no answer that is not documented.

Schemathesis makes the requests and holds the answers against the description; `EXAMPLES=200` has it make more of them.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_api import send_test
from tests.rigs.api_rig import SCOPE_OF, Api

EXAMPLES = int(os.environ.get("EXAMPLES", "4"))  # of each strategy
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What is there, by the beginning of the address.
KNOWN = {
    "/api/v1/producers/{": "ci",
    "/api/v1/consumers/{": "chat",
    "/api/v1/configurations/{": "to-chat",
    "/hooks/json/{": "ci",
}
# Schemathesis 4.32 draws from `random` where Hypothesis would rather have a strategy.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@pytest.fixture(scope="module")
def described(api: Api) -> Any:
    """The description, as a program reads it."""
    headers = {"Authorization": f"Bearer {api.tokens['admin']}"}
    found = httpx.get(f"{api.url}/openapi.json", headers=headers, timeout=60).json()
    schema = schemathesis.openapi.from_dict(found)
    schema.config.update(base_url=api.url)
    return schema


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No delivery worker runs here that could answer a test."""
    monkeypatch.setattr(send_test, "ANSWER_S", 0.1)


def strategies(operation: Any, route: str) -> Iterator[Any]:
    """Requests that fit the description, those to what is there, and those that do not fit."""
    yield operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    method, path = route.split(" ")
    known = next((name for prefix, name in KNOWN.items() if path.startswith(prefix)), None)
    if known is not None and method != "DELETE":
        field = path[path.index("{") + 1 : path.index("}")]
        yield operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters={field: known})
    yield operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


@pytest.mark.parametrize("route", SCOPE_OF)
def test_no_answer_is_a_surprise(api: Api, described: Any, route: str) -> None:
    method, path = route.split(" ")
    headers = {"Authorization": f"Bearer {api.tokens['admin']}"}
    asked = 0

    for strategy in strategies(described[path][method], route):

        @hypothesis_settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(headers=headers, checks=CHECKS)

        with suppress(Unsatisfiable):  # nothing that is wrong can be sent where there are no parameters
            ask()
    assert asked
