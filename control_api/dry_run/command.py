"""Command: a dry run without an API, as `notifier dry-run` makes one: by a draft in a file, and by what is stored."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

from control_api.definitions.closed import catalog_of
from control_api.definitions.documents import Document, load
from control_api.dry_run.comparison import Comparison
from control_api.dry_run.engine import dry_run
from control_api.dry_run.reading import Span
from control_api.dry_run.version import Version
from control_api.dry_run.world import catalog_now
from control_api.migrate import upgraded
from control_api.registry import load_registry
from notifier.catalog import Catalog
from notifier.errors import FieldError, InputError, UnknownName
from notifier.settings import Settings


async def dry_run_command(
    settings: Settings, path: Path | None, configuration: str | None, span: Span
) -> AsyncIterator[tuple[str, Comparison]]:
    """The name of the configuration and what is found, again and again while that grows; see `control_api.dry_run.engine`.

    The file holds the draft, and what else it says is part of the draft: filters, users, consumers. Without a file the
    configuration is judged as it is stored. Raises InputError, UnknownName, BrokerError or DatabaseError.
    """
    documents = [] if path is None else load(path)
    async with upgraded(settings) as database, database.read() as session:
        now = await catalog_now(session, load_registry())
    name = configuration or _only(documents)
    draft: Version | None = None
    if path is not None:
        then = catalog_of(documents, now)
        if name not in {document.name for document in documents if document.kind == "configuration"}:
            raise InputError(FieldError("--configuration", f"there is no configuration {name!r} in {path}"))
        draft = Version(then, name, then.configurations.get(name))
    elif name not in now.configurations:
        raise UnknownName("configuration", name, list(now.configurations))
    compared = Comparison(_stored(now, name), draft)
    async with aclosing(dry_run(settings, compared, span)) as reports:
        async for _ in reports:
            yield name, compared


def _stored(now: Catalog, name: str) -> Version:
    return Version(now, name, now.configurations.get(name))


def _only(documents: Sequence[Document]) -> str:
    names = sorted(document.name for document in documents if document.kind == "configuration")
    if len(names) != 1:
        which = f"one of {', '.join(names[:20])}" if names else "there is none in the file"
        raise InputError(FieldError("--configuration", f"say which configuration is meant: {which}"))
    return names[0]
