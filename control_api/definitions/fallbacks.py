"""Fallbacks: whether a consumer comes back to itself by way of its fallback, that one's fallback, and so on."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.models import ReferenceRow


async def leading_back(session: AsyncSession, written: Mapping[str, str | None]) -> list[str]:
    """The consumers that lead back to themselves, of those that are being written with their fallbacks."""
    if not any(written.values()):
        return []
    rows = await session.execute(
        select(ReferenceRow.name, ReferenceRow.to_name).where(
            ReferenceRow.kind == "consumer", ReferenceRow.to_kind == "consumer"
        )
    )
    fallbacks: dict[str, str | None] = {name: fallback for name, fallback in rows}  # noqa: C416 - rows are no tuples
    fallbacks.update(written)
    return [name for name in written if _leads_back(fallbacks, name)]


def _leads_back(fallbacks: Mapping[str, str | None], name: str) -> bool:
    seen: set[str] = set()
    after = fallbacks.get(name)
    while after is not None and after != name and after not in seen:
        seen.add(after)
        after = fallbacks.get(after)
    return after == name
