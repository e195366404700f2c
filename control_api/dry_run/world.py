"""World: the definitions that a dry run judges by, as they are stored now."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.definitions.changes import as_kind
from control_api.dry_run.comparison import Comparison
from control_api.dry_run.version import Version
from control_api.models import DefinitionRow
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject
from notifier.registry import Registry

_KINDS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "script")  # on which no judgement depends


async def catalog_now(session: AsyncSession, registry: Registry, configuration: str | None = None) -> Catalog:
    """The stored definitions, secrets closed: nothing is sent. `configuration`: of configurations that one alone."""
    columns = select(DefinitionRow.kind, DefinitionRow.name, DefinitionRow.revision, DefinitionRow.spec)
    if configuration is not None:
        columns = columns.where((DefinitionRow.kind != "configuration") | (DefinitionRow.name == configuration))
    rows = await session.execute(columns.where(DefinitionRow.kind.in_(_KINDS)))
    return Catalog(registry=registry).with_changes(
        (kind, name, Definition(kind=kind, name=name, revision=revision, spec=spec))
        for kind, name, revision, spec in ((as_kind(row.kind), row.name, row.revision, row.spec) for row in rows)
    )


def compare(catalog: Catalog, name: str, draft: JsonObject | None) -> Comparison:
    """Compares the configuration of that name, if the catalog has it, with a draft in its stored form."""
    drafted: Version | None = None
    _ = catalog.directory  # both versions share it from here on, if it is there
    if draft is not None:
        written = Definition(kind="configuration", name=name, revision=0, spec=draft)
        then = catalog.with_changes([("configuration", name, written)])
        drafted = Version(then, name, then.configurations.get(name))
    return Comparison(Version(catalog, name, catalog.configurations.get(name)), drafted)
