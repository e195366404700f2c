"""The search for messages by words, by the index of words that each kind of database has.

SQLite has FTS5, in a table beside `message` that its triggers fill; where a build has none, every text is looked at.
PostgreSQL has a GIN index over the words as a `tsvector`. A word is letters and digits alone (`control_api.history.words`), so
none is an operator of either.
"""

from collections.abc import Container, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, column, func, literal, literal_column, select, table
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.listing import Lead
from control_api.history.words import BEGINNING, words_of
from control_api.models import MessageRow
from notifier.errors import FieldError, InputError

MAX_WORDS = 20  # of one question
COMMON = 2_000  # messages that have a word, from which it is looked for as it is, and not as a beginning

_SEARCH = table("message_search", column("rowid"))
_TABLES = table("sqlite_master", column("name"))


async def word_search(session: AsyncSession, question: str) -> Lead:
    """The messages that have all words of the question. Raises InputError where it has none, or too many."""
    words = words_of(question)
    if not words:
        raise InputError(FieldError("/q", "needs a letter or a digit: texts are found by their words"))
    if len(words) > MAX_WORDS:
        raise InputError(FieldError("/q", f"has {len(words)} words; {MAX_WORDS} are the most"))
    index = await _index(session)
    # To put together all words that begin with a common one takes a second at a million messages.
    beginnings = {
        word for word in words if len(word) >= BEGINNING and await _is_rare(session, _lead(index, [word], set()))
    }
    return _lead(index, words, beginnings)


async def _index(session: AsyncSession) -> str:
    """Which index of words the database has: `gin`, `fts5` or `none`."""
    if session.get_bind().dialect.name != "sqlite":
        return "gin"
    found = await session.scalar(select(_TABLES.c.name).where(_TABLES.c.name == _SEARCH.name))
    return "none" if found is None else "fts5"


def _lead(index: str, words: Sequence[str], beginnings: Container[str]) -> Lead:
    messages, each = MessageRow.__table__, _has_words(words, beginnings)
    if index == "gin":
        asked = " & ".join(f"'{word}':*" if word in beginnings else f"'{word}'" for word in words)
        vector = func.array_to_tsvector(func.string_to_array(MessageRow.words, literal_column("' '")))
        found: Any = vector.op("@@", is_comparison=True)(cast(literal(asked, Text), TSQUERY))
        return Lead(source=messages, number=MessageRow.id, conditions=(found,), each=each)
    if index == "none":
        return Lead(source=messages, number=MessageRow.id, conditions=(each,), each=each)
    asked = " ".join(f'"{word}"*' if word in beginnings else f'"{word}"' for word in words)
    match: Any = literal_column(_SEARCH.name).op("MATCH", is_comparison=True)(literal(asked, Text))
    return Lead(source=_SEARCH, number=_SEARCH.c.rowid, conditions=(match,), each=each)


async def _is_rare(session: AsyncSession, lead: Lead) -> bool:
    some = select(lead.number).select_from(lead.source).where(*lead.conditions).limit(COMMON).subquery()
    return int(await session.scalar(select(func.count()).select_from(some)) or 0) < COMMON


def _has_words(words: Sequence[str], beginnings: Container[str]) -> ColumnElement[bool]:
    space = literal_column("' '", Text)
    text = space.concat(MessageRow.words).concat(space)
    return and_(*(text.like(f"% {word}%" if word in beginnings else f"% {word} %") for word in words))
