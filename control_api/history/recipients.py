"""Recipients of attempts by username, compared as usernames are everywhere (`notifier.folded`)."""

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.models import DefinitionRow
from notifier.folded import composed, folded


async def named(session: AsyncSession, username: str | None) -> dict[str, str]:
    """The value of the column `recipient` for that user, as attempts have it; nothing where no user is asked for.

    Attempts name users as they are stored. One that is stored no more is found by the name as it was.
    """
    if username is None:
        return {}
    query = select(DefinitionRow.name).where(
        DefinitionRow.kind == "user",
        or_(DefinitionRow.name == username, DefinitionRow.name_key == folded(username)),
    )
    stored = list(await session.scalars(query.order_by(DefinitionRow.created_at)))
    return {"recipient": username if username in stored else (stored or [composed(username)])[0]}
