"""Messages as the API answers them: what came, found by its words, its producer, its time, and by what became of it."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.digest import digest
from control_api.history.listing import Beside, Listing, equal, page_of
from control_api.history.queries import AttemptQuery, MessageQuery
from control_api.history.recipients import named
from control_api.history.records import attempts
from control_api.history.sight import Sight
from control_api.history.span import span_of
from control_api.history.word_search import word_search
from control_api.models import AttemptRow, MessageRow
from control_api.models.record_fields import without_nul
from notifier.errors import UnknownName
from notifier.record import JsonObject, rfc3339

MAX_ATTEMPTS = 100  # of one message, the newest


async def messages(session: AsyncSession, query: MessageQuery, sight: Sight) -> tuple[list[JsonObject], str | None]:
    """Messages as JSON, and the cursor of the next page if there may be one. Raises InputError."""
    leads = [equal(MessageRow, column, value) for column, value in query.given("producer", "message").items()]
    if query.q is not None:
        leads.append(await word_search(session, query.q))
    asked = query.given("configuration", "consumer", "outcome", "reason") | await named(session, query.recipient)
    beside = None
    if asked:
        beside_leads = [equal(AttemptRow, column, value) for column, value in asked.items()]
        beside = Beside(table=AttemptRow, leads=beside_leads, others=sight.attempts)
    listing = Listing(
        table=MessageRow,
        leads=leads,
        others=(MessageRow.producer.is_not(None), *sight.messages),  # others have their place alone
        span=await span_of(session, MessageRow.id, MessageRow.at, query.since, query.until),
        beside=beside,
    )
    rows, next_cursor = await page_of(session, listing, query.limit, query.cursor)
    return [answer(row) for row in rows], next_cursor


async def message(session: AsyncSession, producer: str, id_: str, sight: Sight) -> JsonObject:
    """The newest message of that producer and id, with the newest of its attempts. Raises UnknownName."""
    query = select(MessageRow).where(
        MessageRow.digest == digest(producer, id_),
        MessageRow.producer == without_nul(producer),
        MessageRow.message == without_nul(id_),
        *sight.messages,
    )
    row = await session.scalar(query.order_by(MessageRow.id.desc()).limit(1))
    if row is None:
        raise UnknownName("message", f"{producer}/{id_}")
    asked = AttemptQuery(producer=without_nul(producer), message=without_nul(id_), limit=MAX_ATTEMPTS)
    found, _ = await attempts(session, asked, sight)
    return {**answer(row), "attempts": found}


def answer(row: MessageRow) -> JsonObject:
    """The JSON of a message."""
    columns: Any = row
    return {
        "producer": row.producer,
        "id": row.message,
        "sender": columns.sender,
        "receiver": columns.receiver,
        "title": columns.title,
        "content": columns.content,
        "url": columns.url,
        "severity": columns.severity,
        "labels": columns.labels or {},
        "cut": bool(columns.cut),
        "at": rfc3339(row.at),
        "partition": row.partition,
        "offset": row.offset,
    }
