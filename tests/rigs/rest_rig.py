"""Definitions over REST without a server or a broker: clients of every scope, and plugins whose check stands for a service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
from fastapi import FastAPI
from pydantic import Field, SecretStr

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE, SCOPES
from control_api.definitions.services import Services
from control_api.migrate import upgrade_database
from control_api.parts import Parts
from notifier.database import Database
from notifier.errors import FieldError, InputError, Permanent, Retryable
from notifier.outcome import Kind
from notifier.plugin import Consumer, ConsumerParameters, Context, Parameters, Producer
from notifier.registry import Registry
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.definition_cases import BASE

TOKEN = "the-token-of-the-service"


class CheckedParameters(ConsumerParameters):
    token: SecretStr | None = None
    mood: str = "good"
    script: str | None = Field(None, description="Asked for by the check.")


class Checks:
    """Stands for a service: what `check` finds is the parameter `mood`."""

    started: asyncio.Event
    go_on: asyncio.Event
    closed = 0
    asked = 0

    @classmethod
    async def find(cls, parameters: CheckedParameters, context: Context) -> None:
        cls.asked += 1
        token = parameters.token.get_secret_value() if parameters.token else ""
        match parameters.mood:
            case "wrong token":
                raise Permanent("unauthorized", f"Bad credentials: {token}")
            case "no such chat":
                raise Permanent("not_found", "chat not found")
            case "busy":
                raise Retryable("rate_limited", "too many requests", 7)
            case "field":
                raise InputError(FieldError("/parameters/mood", f"is not one that {token} may have"))
            case "broken":
                raise RuntimeError(f"{token}\nis no good")
            case "hangs":
                await asyncio.Event().wait()
            case "waits":
                cls.started.set()
                await cls.go_on.wait()
            case "own cluster":
                assert context.own_servers == "127.0.0.1:1"
                assert context.own_topic("notifier.messages")
            case "script":
                assert parameters.script is not None
                assert context.script(parameters.script).content == "true"
            case "services":
                assert context.services["github"].startswith("https://")

    async def close(self) -> None:
        """Counts."""
        Checks.closed += 1


class CheckedProducer(Checks, Producer[CheckedParameters]):
    """A producer that can be checked."""

    type = "checked"
    Parameters = CheckedParameters

    async def check(self, context: Context) -> None:
        """Asks."""
        await self.find(self.parameters, context)


class CheckedConsumer(Checks, Consumer[CheckedParameters]):
    """A consumer that can be checked."""

    type = "checked"
    Parameters = CheckedParameters

    async def check(self, context: Context) -> None:
        """Asks."""
        await self.find(self.parameters, context)


class Pulled(Producer[Parameters]):
    """Fetches its messages."""

    type = "pulled"
    Parameters = Parameters


class Rest:
    """A running API and clients of every scope."""

    def __init__(self, app: FastAPI, bearer: dict[str, str]) -> None:
        self._app, self._bearer = app, bearer
        self._clients: dict[str | None, httpx.AsyncClient] = {}

    @property
    def parts(self) -> Parts:
        """What the API is made of."""
        parts: Parts = self._app.state.parts
        return parts

    def client(self, scope: str | None = "admin") -> httpx.AsyncClient:
        """Whose token has that scope alone; None: without a token."""
        if scope not in self._clients:
            headers = {} if scope is None else {"Authorization": f"Bearer {self._bearer[scope]}"}
            transport = httpx.ASGITransport(app=self._app)
            self._clients[scope] = httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)
        return self._clients[scope]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()


async def prepare(settings: Settings, registry: Registry) -> dict[str, str]:
    """Puts `BASE` and a token for each scope into the database."""
    database = Database(settings)
    try:
        await upgrade_database(database)
        services = Services(database, registry, load_seal(settings))
        for kind, written in BASE:
            await services.create(COMMAND_LINE, kind, dict(written))
    finally:
        await database.close()
    return {scope: await tokens.create_token(settings, name=scope, scopes=[scope]) for scope in SCOPES}


@asynccontextmanager
async def serving(app: FastAPI, bearer: dict[str, str]) -> AsyncIterator[Rest]:
    async with app.router.lifespan_context(app):
        rest = Rest(app, bearer)
        try:
            yield rest
        finally:
            await rest.close()


def address(kind: Kind, name: str = "") -> str:
    return f"/api/v1/{kind}s" + (f"/{quote(name, safe='')}" if name else "")
