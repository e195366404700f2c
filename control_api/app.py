"""The control API: one app made of parts.

    request ─► guard (limits, headers, ids) ─► problems ─► auth ─► rest, graphql ─► services ─► database, intake
                                                             relay ─► definitions     attempts, … ─► history

The app lives whether the broker is there or not: what writes to Kafka answers 503 meanwhile, everything else works. The
process that serves it is `control_api.serve`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from control_api import health, rest
from control_api.access.failed_sign_ins import FailedSignIns
from control_api.access.sign_in_limit import SignInLimit
from control_api.access.tokens import known_tokens
from control_api.console import PAGES, assets, errors
from control_api.definitions.doors import Doors
from control_api.definitions.pausing import Pausing
from control_api.definitions.plugin_contexts import PluginContexts
from control_api.definitions.relay import Relay
from control_api.definitions.repositories import Repositories
from control_api.definitions.services import Services
from control_api.definitions.verification import Verification
from control_api.dry_run.dry_runs import DryRuns
from control_api.explain.explaining import Explaining
from control_api.graphql import endpoint as graphql
from control_api.graphql.schema import build_schema
from control_api.history.follower import History
from control_api.history.message_index import MessageIndex
from control_api.http import problems
from control_api.http.auth import ReadActor, check_guarded
from control_api.http.guard import REQUEST_LIMIT_S, Guard, Load
from control_api.http.page import json_response
from control_api.intake.intake import Intake
from control_api.intake.producer_types import producer_types
from control_api.mail.door import MailDoor
from control_api.migrate import upgrade_database
from control_api.parked.parked import ParkedDeliveries
from control_api.parts import Parts
from control_api.preview.previewing import Previewing
from control_api.redrive.redrives import Redrives
from control_api.registry import load_registry
from control_api.rest.definition_schemas import SCHEMAS
from control_api.rest.quick_push import QuickPush, is_push
from control_api.retention import keep_pruning
from control_api.send_test import SendTest
from control_api.silence.watch import Watch
from control_api.statuses import Statuses
from control_api.wishes.granting import Granting
from control_api.wishes.wishes import Wishes
from notifier.database import Database
from notifier.ending import end
from notifier.network import Network
from notifier.registry import Registry
from notifier.seal import Seal, load_seal
from notifier.settings import Settings


class _App(FastAPI):
    """FastAPI, and the way past it for the request that comes most often."""

    push: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.push is not None and is_push(scope):
            await self.push(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    registry: Registry | None = None,
    seal: Seal | None = None,
    instance: str | None = None,
    request_limit_s: float = REQUEST_LIMIT_S,
) -> FastAPI:
    """The app. Reads the key; connects to nothing until it is started, when it upgrades the database and follows topics.

    `instance` names the process among those of this installation (see `control_api.intake.transactions`). Raises SecretError
    when the key is missing, and NotifierError when two plugins have the same type.
    """
    registry = load_registry() if registry is None else registry
    seal = load_seal(settings) if seal is None else seal
    app = _App(
        title="Notifier",
        version=version("notifier"),
        description=(
            "The control API of Notifier. Every error is a problem detail (RFC 9457). Lists are pages of at most 500 items."
            " Every POST takes an Idempotency-Key."
        ),
        lifespan=_lifespan(settings, registry, seal, instance),
        openapi_url=None,  # `_describe` has it, for those who may read
        docs_url=None,  # FastAPI's page loads its scripts from elsewhere; `control_api.console` has ours
        redoc_url=None,
        redirect_slashes=False,
    )
    load = Load()
    app.add_middleware(Guard, limit_s=request_limit_s, load=load)
    app.push = Guard(QuickPush(app), limit_s=request_limit_s, load=load)
    errors.install(app)
    app.include_router(health.router)
    for router in rest.ROUTERS:
        app.include_router(router, prefix=rest.PREFIX)
    for router in (*rest.HOOKS, graphql.router, assets.router, *PAGES):
        app.include_router(router)
    _describe(app)
    check_guarded(app)
    build_schema()  # of GraphQL; it checks the same of its fields
    return app


def _lifespan(
    settings: Settings, registry: Registry, seal: Seal, instance: str | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What runs as long as the app: an upgraded database, the parts that work in the background, and pruning."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            database = Database(settings)
            stack.push_async_callback(database.close)
            await upgrade_database(database)
            parts = _parts(settings, registry, seal, instance, database)
            stack.push_async_callback(parts.failed_sign_ins.stop)
            stack.push_async_callback(parts.doors.close)
            stack.push_async_callback(parts.explaining.close)
            stack.push_async_callback(parts.previewing.close)
            index = MessageIndex(settings, database)
            # Stopped in the opposite order.
            following = (parts.relay, parts.history, index, parts.statuses, parts.parked)
            wishes = Wishes(settings, database, Granting(database, parts.services), parts.intake)
            silence = Watch(settings, database, registry, parts.intake, parts.statuses)
            for part in (*following, parts.intake, parts.redrives, wishes, silence):
                await part.start()
                stack.push_async_callback(part.stop)
            stack.push_async_callback(parts.dry_runs.stop)
            door = MailDoor(parts)
            await door.start()
            stack.push_async_callback(door.stop)
            pruning = asyncio.create_task(keep_pruning(database, settings), name="retention")
            stack.push_async_callback(end, pruning)
            app.state.parts = parts
            app.state.mail_port = door.port
            yield

    return lifespan


def _parts(settings: Settings, registry: Registry, seal: Seal, instance: str | None, database: Database) -> Parts:
    """Makes the parts. The lifespan starts them."""
    relay = Relay(settings, database)
    types = producer_types(database)

    def changed(revision: int) -> None:
        types.forget()
        relay.wake(revision)

    services = Services(database, registry, seal, changed=changed)
    intake, statuses = Intake(settings, instance), Statuses(settings)
    network = Network(allowed=settings.allowed_addresses)
    contexts = PluginContexts(settings=settings, network=network)
    explaining = Explaining(settings, database, registry)
    return Parts(
        settings=settings,
        database=database,
        tokens=known_tokens(database),
        producer_types=types,
        registry=registry,
        seal=seal,
        intake=intake,
        relay=relay,
        services=services,
        pausing=Pausing(database=database, services=services, intake=intake, statuses=statuses),
        verification=Verification(services, seal, contexts),
        repositories=Repositories(registry, seal, settings.services, network),
        doors=Doors(services, seal, contexts),
        history=History(settings, database),
        explaining=explaining,
        previewing=Previewing(database, explaining),
        statuses=statuses,
        dry_runs=DryRuns(settings, database, services),
        redrives=Redrives(settings, database),
        parked=ParkedDeliveries(settings, database),
        send_test=SendTest(settings=settings, database=database, services=services, statuses=statuses),
        sign_in_limit=SignInLimit(),
        failed_sign_ins=FailedSignIns(database),
    )


def _describe(app: FastAPI) -> None:
    """Adds `GET /openapi.json`, and the schemas that the routes refer to by name."""

    @app.get(
        "/openapi.json", summary="Get this description", tags=["schemas"], response_class=Response,
        responses=problems.documented(401, 403),
    )  # fmt: skip
    async def openapi(actor: ReadActor) -> Response:
        """OpenAPI 3.1."""
        return json_response(app.openapi())

    generate = app.openapi

    def described() -> dict[str, Any]:
        schema = generate()
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        components |= {"Problem": problems.SCHEMA, **SCHEMAS}
        for operations in schema["paths"].values():
            for operation in operations.values():
                # FastAPI documents its own 422 wherever there are parameters. Ours has another form, and is a problem.
                answer = operation["responses"].get("422", {}).get("content", {})
                if "application/json" in answer:
                    operation["responses"]["422"] = problems.documented(422)[422]
                if "requestBody" in operation:  # which may come too slowly, or be too large
                    for status, answers in problems.documented(408, 413).items():
                        operation["responses"].setdefault(str(status), answers)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way
