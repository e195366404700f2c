"""The definitions as they are and as they were, as a router reads them."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.catalogs import Catalogs
from control_api.definitions.changes import as_kind
from control_api.definitions.services import Services
from control_api.models import AuditRow, ChangeRow, DefinitionRow
from notifier.catalog import Catalog
from notifier.database import Database
from notifier.definition import Definition
from notifier.plugin import secrets_in
from notifier.record import now
from tests.rigs.definitions_rig import CANARY, CHAT, REGISTRY, create_all

pytest_plugins = ["tests.rigs.databases"]


def _content(catalog: Catalog) -> dict[str, Any]:
    """What a catalog says, without its plugin instances."""
    named = {
        field: sorted(getattr(catalog, field)) for field in ("producers", "filters", "consumers", "scripts", "problems")
    }
    return {**named, "users": dict(catalog.users), "configurations": dict(catalog.configurations)}


async def _stored(store: Database) -> Catalog:
    """The catalog of the definitions as they stand, read as the router reads them."""
    async with store.read() as session:
        rows = list(await session.scalars(select(DefinitionRow)))
    return Catalog(registry=REGISTRY).with_changes(
        (
            as_kind(row.kind),
            row.name,
            Definition(kind=as_kind(row.kind), name=row.name, revision=row.revision, spec=row.spec),
        )
        for row in rows
    )


async def _all_specs(store: Database) -> list[Any]:
    async with store.read() as session:
        return list(await session.scalars(select(AuditRow.after)))


async def test_the_catalog_is_that_of_the_stored_definitions_at_every_revision(
    services: Services, store: Database
) -> None:
    seen: list[tuple[int, dict[str, Any]]] = []

    async def note() -> None:
        revision, catalog = await Catalogs(store, REGISTRY).now()
        assert _content(catalog) == _content(await _stored(store))
        assert not catalog.problems
        seen.append((revision, _content(catalog)))

    await note()
    await create_all(services)
    await note()
    chat = {**CHAT, "name": "more", "parameters": {"token": CANARY, "urls": [CANARY], "headers": {"a": CANARY}}}
    await services.create(COMMAND_LINE, "consumer", chat)
    await note()
    await services.patch(COMMAND_LINE, "user", "alice", {"on_leave": True})
    await note()
    await services.patch(COMMAND_LINE, "configuration", "all", {"enabled": False, "users": []})
    await note()
    await services.delete(COMMAND_LINE, "user", "alice")
    await note()
    catalogs = Catalogs(store, REGISTRY)
    for revision, content in [*seen, *reversed(seen), *seen[::2]]:
        assert _content(await catalogs.of(revision)) == content
        assert len(catalogs._known) <= 4
    latest = (await catalogs.now())[1]
    assert (await catalogs.now())[1] is latest
    shown = str(await _all_specs(store)) + "".join(secrets_in(latest.consumers["more"].parameters.__dict__.values()))
    assert CANARY not in shown


async def test_a_catalog_of_a_time_has_what_was_published_by_then(services: Services, store: Database) -> None:
    await create_all(services)
    await services.patch(COMMAND_LINE, "user", "alice", {"on_leave": True})
    first, second = now() - timedelta(hours=2), now() - timedelta(hours=1)
    async with store.write() as session:
        latest = await session.scalar(select(ChangeRow.revision).order_by(ChangeRow.revision.desc()).limit(1))
        await session.execute(update(ChangeRow).values(published_at=first))
        await session.execute(update(ChangeRow).where(ChangeRow.revision == latest).values(published_at=second))
    catalogs = Catalogs(store, REGISTRY)
    assert (await catalogs.at(first - timedelta(seconds=1)))[0] == 0
    assert not (await catalogs.at(second - timedelta(seconds=1)))[1].users["alice"].on_leave
    assert (await catalogs.at(second))[1].users["alice"].on_leave
    assert (await catalogs.at(now()))[0] == latest


@pytest.mark.parametrize("steps", [[True], [False, True], [False, True, True, False, True, True]])
async def test_a_leave_began_when_it_was_written_after_work(
    services: Services, store: Database, steps: list[bool]
) -> None:
    await services.create(COMMAND_LINE, "user", {"username": "alice", "on_leave": steps[0]})
    for number, step in enumerate(steps[1:]):
        await services.patch(
            COMMAND_LINE, "user", "alice", {"on_leave": step, "additional_info": {"x": {"id": number}}}
        )
    catalogs = Catalogs(store, REGISTRY)
    revision, _ = await catalogs.now()
    async with store.read() as session:
        times = list(await session.scalars(select(AuditRow.at).order_by(AuditRow.id)))
    # Of who was on leave from the first it is not known.
    began = {} if all(steps) else {"alice": times[len(steps) - steps[::-1].index(False)]}
    assert await catalogs.leaves(["alice", "nobody"], revision) == began
