"""GraphQLContext: what the resolvers of one request share, and the guard that checks the scope of a field."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from control_api.access.actor import Actor, Scope
from control_api.definitions.json_value import check_json
from control_api.definitions.services import Stored
from control_api.graphql.errors import TOO_COMPLEX
from control_api.graphql.loader import Loader
from control_api.intake.occasion import Occasion
from control_api.parts import Parts
from notifier.errors import Forbidden
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject, rfc3339

MAX_OBJECTS = 5_000  # definitions and records in one answer
_AT_ONCE = 3  # queries of one request at the same time: other requests need connections too

Resolver = Callable[..., Awaitable[Any]]


class GraphQLContext:
    """The caller of one request, its remaining budget of objects, and its loaders. `open_context` makes and closes it."""

    def __init__(self, parts: Parts, actor: Actor, occasion: Occasion) -> None:
        self.parts = parts
        self.services = parts.services.seen_by(actor)
        self.actor = actor
        self.occasion = occasion
        self._left = MAX_OBJECTS
        self.turn = asyncio.Semaphore(_AT_ONCE)  # held during each query of the database
        self._by_name = {kind: Loader(self._fetch_by_name(kind)) for kind in KINDS}
        self._referrers: dict[tuple[Kind, Kind], Loader[str, list[str]]] = {}

    def spend(self, count: int) -> None:
        """Takes objects of the answer off the budget. Raises GraphQLError when it is used up."""
        self._left -= count
        if self._left < 0:
            raise GraphQLError(
                f"the answer would hold more than {MAX_OBJECTS} objects; ask for fewer levels, or with `limit`",
                extensions={"code": TOO_COMPLEX},
            )

    async def named(self, kind: Kind, names: Iterable[str]) -> list[JsonObject]:
        """The definitions of those names, in that order, each as `shown`. A definition deleted meanwhile is left out."""
        wanted = list(names)
        self.spend(len(wanted))
        return [shown(stored) for stored in await self._by_name[kind].load_many(wanted)]

    async def referring(self, kind: Kind, to_kind: Kind, to_name: str) -> list[JsonObject]:
        """The definitions of `kind` that refer to that definition, by name."""
        pair = kind, to_kind
        if pair not in self._referrers:
            self._referrers[pair] = Loader(self._fetch_referrers(*pair))
        return await self.named(kind, await self._referrers[pair].load(to_name) or [])

    def forget(self) -> None:
        """Empties the loaders: a mutation has changed something."""
        for loader in self._loaders():
            loader.forget()

    async def close(self) -> None:
        """Cancels the queries that still run."""
        for loader in self._loaders():
            await loader.close()

    def _loaders(self) -> list[Loader[str, Any]]:
        return [*self._by_name.values(), *self._referrers.values()]

    def _fetch_by_name(self, kind: Kind) -> Callable[[list[str]], Awaitable[dict[str, Stored]]]:
        async def fetch(names: list[str]) -> dict[str, Stored]:
            async with self.turn:
                return await self.services.get_many(kind, names)

        return fetch

    def _fetch_referrers(self, kind: Kind, to_kind: Kind) -> Callable[[list[str]], Awaitable[dict[str, list[str]]]]:
        async def fetch(names: list[str]) -> dict[str, list[str]]:
            async with self.turn:
                found = await self.services.referrers(kind, to_kind, names)
                return {name: list(by) for name, by in found.items()}

        return fetch


@asynccontextmanager
async def open_context(parts: Parts, actor: Actor, occasion: Occasion) -> AsyncIterator[GraphQLContext]:
    """The context of one request, closed at its end."""
    context = GraphQLContext(parts, actor, occasion)
    try:
        yield context
    finally:
        await context.close()


def shown(stored: Stored) -> JsonObject:
    """A definition as resolvers pass it on: its document with revision, ETag and times."""
    return {
        **stored.document,
        "_name": stored.name,
        "revision": stored.revision,
        "etag": stored.etag,
        "created_at": rfc3339(stored.created_at),
        "updated_at": rfc3339(stored.updated_at),
    }


def guarded(scope: Scope, resolve: Resolver) -> Resolver:
    """A resolver that checks the caller's scope and then calls `resolve(root, context, **arguments)`.

    Raises Forbidden, and InputError for arguments that JSON or the databases cannot hold.
    """

    async def guard(root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        context: GraphQLContext = info.context
        if not context.actor.may(scope):
            raise Forbidden(scope, f"{info.parent_type.name}.{info.field_name}")
        # `input` is the services' to check.
        check_json({name: value for name, value in arguments.items() if name != "input"})
        return await resolve(root, context, **arguments)

    guard.scope = scope  # type: ignore[attr-defined]  # `schema` reads it
    return guard
