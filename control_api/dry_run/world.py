"""World: the definitions that a dry run judges by, as they are stored now."""

from collections.abc import Iterable

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.definitions.changes import as_kind
from control_api.dry_run.comparison import Comparison
from control_api.dry_run.version import Version
from control_api.models import DefinitionRow
from notifier.catalog import Catalog, Configuration
from notifier.definition import ConfigurationSpec, Definition
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.validation import validated

_KINDS: tuple[Kind, ...] = ("user", "producer", "filter", "consumer")


async def comparison(session: AsyncSession, registry: Registry, name: str, draft: JsonObject | None) -> Comparison:
    """Compares the stored configuration of that name, if there is one, with a draft in its stored form.

    Secrets stay closed: nothing is sent.
    """
    columns = select(DefinitionRow.kind, DefinitionRow.name, DefinitionRow.revision, DefinitionRow.spec)
    own = (DefinitionRow.kind == "configuration") & (DefinitionRow.name == name)
    rows = (await session.execute(columns.where(or_(DefinitionRow.kind.in_(_KINDS), own)))).all()
    return compare(
        (Definition(kind=as_kind(row.kind), name=row.name, revision=row.revision, spec=row.spec) for row in rows),
        registry,
        name,
        draft,
    )


def compare(definitions: Iterable[Definition], registry: Registry, name: str, draft: JsonObject | None) -> Comparison:
    """The same by definitions that are given."""
    catalog = Catalog(registry=registry).with_changes((one.kind, one.name, one) for one in definitions)
    drafted: Version | None = None
    if draft is not None:
        spec = validated(ConfigurationSpec, draft, extra="ignore")
        drafted = Version(catalog, name, Configuration(name=name, version=0, spec=spec))
    return Comparison(Version(catalog, name, catalog.configurations.get(name)), drafted)
