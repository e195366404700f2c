"""Context: what resolvers share during one request - who asks, what may still be answered - and how a field is guarded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from control_api.access.actor import Actor, Scope
from control_api.definitions.services import Stored
from control_api.definitions.spec import check_json
from control_api.graphql.errors import TOO_COMPLEX
from control_api.graphql.loader import Loader
from control_api.http.idempotency import Occasion
from control_api.parts import Parts
from notifier.errors import Forbidden
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject, rfc3339

MAX_OBJECTS = 5_000  # definitions and records in one answer
_AT_ONCE = 3  # queries of one request at the database, whose connections others need too

Resolver = Callable[..., Awaitable[Any]]


class Context:
    """Of one request. Made by `open_context`, which also ends it."""

    def __init__(self, parts: Parts, actor: Actor, occasion: Occasion) -> None:
        self.parts = parts
        self.actor = actor
        self.occasion = occasion
        self._left = MAX_OBJECTS
        self.turn = asyncio.Semaphore(_AT_ONCE)  # held by whoever is at the database
        self._by_name = {kind: Loader(self._fetch_by_name(kind)) for kind in KINDS}
        self._referrers: dict[tuple[Kind, Kind], Loader[str, list[str]]] = {}

    def spend(self, count: int) -> None:
        """Counts objects of the answer. Raises GraphQLError when they are too many."""
        self._left -= count
        if self._left < 0:
            raise GraphQLError(
                f"the answer would hold more than {MAX_OBJECTS} objects; ask for fewer levels, or with `limit`",
                extensions={"code": TOO_COMPLEX},
            )

    async def named(self, kind: Kind, names: Iterable[str]) -> list[JsonObject]:
        """The definitions of those names, in that order, each as `shown`. One that has just been deleted is left out."""
        wanted = list(names)
        self.spend(len(wanted))
        return [shown(stored) for stored in await self._by_name[kind].load_many(wanted)]

    async def referring(self, kind: Kind, to_kind: Kind, to_name: str) -> list[JsonObject]:
        """The definitions of `kind` that name that one, by name."""
        pair = kind, to_kind
        if pair not in self._referrers:
            self._referrers[pair] = Loader(self._fetch_referrers(*pair))
        return await self.named(kind, await self._referrers[pair].load(to_name) or [])

    def forget(self) -> None:
        """Looks up anew what was looked up: a mutation has changed something."""
        for loader in self._loaders():
            loader.forget()

    async def close(self) -> None:
        """Ends what is still being looked up."""
        for loader in self._loaders():
            await loader.close()

    def _loaders(self) -> list[Loader[str, Any]]:
        return [*self._by_name.values(), *self._referrers.values()]

    def _fetch_by_name(self, kind: Kind) -> Callable[[list[str]], Awaitable[dict[str, Stored]]]:
        async def fetch(names: list[str]) -> dict[str, Stored]:
            async with self.turn:
                return await self.parts.services.get_many(kind, names)

        return fetch

    def _fetch_referrers(self, kind: Kind, to_kind: Kind) -> Callable[[list[str]], Awaitable[dict[str, list[str]]]]:
        async def fetch(names: list[str]) -> dict[str, list[str]]:
            async with self.turn:
                found = await self.parts.services.referrers(kind, to_kind, names)
                return {name: list(by) for name, by in found.items()}

        return fetch


@asynccontextmanager
async def open_context(parts: Parts, actor: Actor, occasion: Occasion) -> AsyncIterator[Context]:
    """A context for one request."""
    context = Context(parts, actor, occasion)
    try:
        yield context
    finally:
        await context.close()


def shown(stored: Stored) -> JsonObject:
    """A definition as resolvers pass it on: its document, and what is known about it."""
    return {
        **stored.document,
        "_name": stored.name,
        "revision": stored.revision,
        "etag": stored.etag,
        "created_at": rfc3339(stored.created_at),
        "updated_at": rfc3339(stored.updated_at),
    }


def guarded(scope: Scope, resolve: Resolver) -> Resolver:
    """A resolver that first asks whether the caller may: `resolve(root, context, **arguments)` is called only then.

    Raises Forbidden, and InputError for arguments that hold what JSON or the databases cannot.
    """

    async def guard(root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        context: Context = info.context
        if not context.actor.may(scope):
            raise Forbidden(scope, f"{info.parent_type.name}.{info.field_name}")
        check_json(
            {name: value for name, value in arguments.items() if name != "input"}
        )  # that is the services' to check
        return await resolve(root, context, **arguments)

    guard.scope = scope  # type: ignore[attr-defined]  # `schema` looks for it
    return guard
