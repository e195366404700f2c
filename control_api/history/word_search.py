"""The search for messages by words, by the index of words that each kind of database has.

SQLite has FTS5, in a table beside `message` that its triggers fill; where a build has none, every text is looked at.
PostgreSQL has a GIN index over the words as a `tsvector`. A word is letters and digits alone (`control_api.history.words`), so
none is an operator of either.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, column, func, literal, literal_column, select, table
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.history.listing import Lead
from control_api.history.words import BEGINNING, words_of
from control_api.models import MessageRow
from notifier.errors import FieldError, InputError

MAX_WORDS = 20  # of one question

_SEARCH = table("message_search", column("rowid"))
_TABLES = table("sqlite_master", column("name"))


async def word_search(session: AsyncSession, question: str) -> Lead:
    """The messages that have all words of the question. Raises InputError where it has none, or too many."""
    words, messages = words_of(question), MessageRow.__table__
    if not words:
        raise InputError(FieldError("/q", "needs a letter or a digit: texts are found by their words"))
    if len(words) > MAX_WORDS:
        raise InputError(FieldError("/q", f"has {len(words)} words; {MAX_WORDS} are the most"))
    each = _has_words(words)
    if session.get_bind().dialect.name != "sqlite":
        asked = " & ".join(f"'{word}':*" if _is_beginning(word) else f"'{word}'" for word in words)
        vector = func.array_to_tsvector(func.string_to_array(MessageRow.words, literal_column("' '")))
        found: Any = vector.op("@@", is_comparison=True)(cast(literal(asked, Text), TSQUERY))
        return Lead(source=messages, number=MessageRow.id, conditions=(found,), each=each)
    if await session.scalar(select(_TABLES.c.name).where(_TABLES.c.name == _SEARCH.name)) is None:
        return Lead(source=messages, number=MessageRow.id, conditions=(each,), each=each)
    asked = " ".join(f'"{word}"*' if _is_beginning(word) else f'"{word}"' for word in words)
    match: Any = literal_column(_SEARCH.name).op("MATCH", is_comparison=True)(literal(asked, Text))
    return Lead(source=_SEARCH, number=_SEARCH.c.rowid, conditions=(match,), each=each)


def _has_words(words: Sequence[str]) -> ColumnElement[bool]:
    space = literal_column("' '", Text)
    text = space.concat(MessageRow.words).concat(space)
    return and_(*(text.like(f"% {word}%" if _is_beginning(word) else f"% {word} %") for word in words))


def _is_beginning(word: str) -> bool:
    return len(word) >= BEGINNING
