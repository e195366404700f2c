"""Usernames: which stored user a name means, whatever its case and Unicode form (`notifier.folded`)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.definitions.spec import Spec
from control_api.models import DefinitionRow
from notifier.folded import composed, folded

_CHUNK = 200  # names in one statement, which has each of them twice


class Usernames:
    """Known usernames. Those that come first go before others that are the same name to people."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)
        self._by_folded: dict[str, str] = {}
        for name in self._names:
            self._by_folded.setdefault(folded(name), name)

    def find(self, name: str) -> str:
        """The known name that a name means, or the form in which a new one is stored."""
        return name if name in self._names else self._by_folded.get(folded(name), composed(name))


def with_usernames(spec: Spec, known: Usernames) -> Spec:
    """A spec that names users as they are stored; of a configuration or group, others name none."""
    field = "members" if "members" in spec.value else "users"
    users = spec.value.get(field)
    if not users:
        return spec
    references = tuple(
        replace(reference, name=known.find(reference.name)) if reference.kind == "user" else reference
        for reference in spec.references
    )
    return replace(spec, value={**spec.value, field: [known.find(name) for name in users]}, references=references)


async def stored_usernames(session: AsyncSession, names: Sequence[str]) -> Usernames:
    """The stored usernames that these names may mean."""
    found: list[str] = []
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        query = select(DefinitionRow.name).where(
            DefinitionRow.kind == "user",
            or_(DefinitionRow.name.in_(some), DefinitionRow.name_key.in_([folded(name) for name in some])),
        )
        found += await session.scalars(query.order_by(DefinitionRow.created_at))
    return Usernames(found)
