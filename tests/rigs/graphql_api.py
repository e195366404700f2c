"""An API in the test's event loop, with definitions in its database, and clients that ask GraphQL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE, SCOPES
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.parts import Parts
from control_api.registry import load_registry
from notifier.database import Database
from notifier.record import JsonObject
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.definition_cases import BASE

RESPONSE = "application/graphql-response+json"


@dataclass
class Api:
    """An API with `BASE` in its database and a token for each scope."""

    transport: httpx.ASGITransport
    parts: Parts
    tokens: dict[str, str]

    def client(self, scope: str | None = "admin") -> httpx.AsyncClient:
        """A client that may do what that scope says; None: anonymous."""
        headers = {} if scope is None else {"Authorization": f"Bearer {self.tokens[scope]}"}
        return httpx.AsyncClient(transport=self.transport, base_url="http://test", headers=headers)

    async def ask(self, query: str, scope: str = "admin", **variables: Any) -> JsonObject:
        """The answer to a query."""
        async with self.client(scope) as asking:
            asked = {"query": query, "variables": variables}
            answer = await asking.post("/graphql", json=asked, headers={"Accept": RESPONSE})
        assert answer.headers["content-type"] == RESPONSE, answer.text
        body: JsonObject = answer.json()
        assert (answer.status_code == 200) is ("data" in body)
        return body

    async def data(self, query: str, scope: str = "admin", **variables: Any) -> JsonObject:
        """The answer's data; fails where it has errors."""
        answer = await self.ask(query, scope, **variables)
        assert "errors" not in answer, answer
        data: JsonObject = answer["data"]
        return data

    async def refused(self, query: str, scope: str = "admin", **variables: Any) -> str:
        """The code of the one error of an answer."""
        answer = await self.ask(query, scope, **variables)
        assert len(answer["errors"]) == 1, answer
        assert answer["errors"][0]["message"]
        code: str = answer["errors"][0]["extensions"]["code"]
        return code


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """An API in this event loop, on an upgraded database."""
    database = Database(settings)
    services = Services(database, load_registry(), load_seal(settings))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        for kind, document in BASE:
            await services.create(COMMAND_LINE, kind, dict(document))
        made: dict[str, str] = {
            scope: await tokens.create_token(settings, name=scope, scopes=[scope]) for scope in SCOPES
        }
        app = create_app(settings)
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield Api(httpx.ASGITransport(app), app.state.parts, made)
