"""Inclusions: which named templates are within which, and whether one comes back to itself or lies too deep."""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from consumers.text.includes import MAX_DEPTH
from control_api.models import ReferenceRow

Inclusions = Mapping[str, Sequence[str]]  # name → the templates that it includes itself


async def faults_of(session: AsyncSession, written: Inclusions) -> dict[str, str]:
    """Why templates that are being written may not include what they do, in words, by name."""
    if not written:
        return {}
    rows = await session.execute(
        select(ReferenceRow.name, ReferenceRow.to_name).where(
            ReferenceRow.kind == "template", ReferenceRow.to_kind == "template"
        )
    )
    below: dict[str, list[str]] = {}
    for name, included in rows:
        if name not in written:
            below.setdefault(name, []).append(included)
    below.update((name, list(names)) for name, names in written.items())
    above: dict[str, list[str]] = {}
    for name, names in below.items():
        for included in names:
            above.setdefault(included, []).append(name)
    return dict(_faults(written, below, above))


def _faults(written: Inclusions, below: Inclusions, above: Inclusions) -> Iterator[tuple[str, str]]:
    for name in written:
        if _leads_back(below, name):
            yield name, "includes itself, or a template that leads back to it"
        else:
            depth = _levels(below, name) + _levels(above, name) - 1
            if depth > MAX_DEPTH:
                yield name, f"makes {depth} templates within one another; {MAX_DEPTH} are possible"


def _leads_back(below: Inclusions, name: str) -> bool:
    seen: set[str] = set()
    waiting = list(below.get(name, ()))
    while waiting:
        other = waiting.pop()
        if other == name:
            return True
        if other not in seen:
            seen.add(other)
            waiting += below.get(other, ())
    return False


def _levels(edges: Inclusions, name: str) -> int:
    """The number of templates in the longest chain from this one on; a circle of others ends the count beyond the limit."""
    levels, reached = 1, {name}
    while levels <= MAX_DEPTH:
        reached = {other for one in reached for other in edges.get(one, ())}
        if not reached:
            break
        levels += 1
    return levels
