"""Query: the text of a question to a database, which may only read. No I/O."""

import re  # for our own constant patterns

_READS = ("select", "with", "values", "table", "show")
# What may stand before the first word: blanks, comments, and brackets.
_BEFORE = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|#[^\n]*(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*\*/|\()*")
_WORD = re.compile(r"[A-Za-z]+")
_END = re.compile(r"[\s;]+\Z")


def check_query(text: str) -> str:
    """The query without a semicolon at its end. Raises ValueError for one that does not begin as a question does.

    That is for people who err. What keeps others from writing is the transaction, and the rights of the database's user.
    """
    if "\0" in text:
        raise ValueError("holds a NUL character")
    query = _END.sub("", text)
    before = _BEFORE.match(query)
    word = _WORD.match(query, before.end() if before else 0)
    if word is None or word[0].lower() not in _READS:
        raise ValueError(f"must be one query that reads: it begins with {', '.join(_READS[:-1]).upper()} or SHOW")
    return query


def behind(query: str, column: str, value: str | None, *, is_past: bool, limit: int) -> str:
    """The query's rows in the order of a column, from a value on; `is_past`: without those that are equal to it.

    `column` is quoted for the database already, and `value` the place of an argument; None: from the first row on.
    """
    condition = f"{column} IS NOT NULL" if value is None else f"{column} {'>' if is_past else '>='} {value}"
    # The line end: the query may end with a comment.
    return f"SELECT * FROM (\n{query}\n) AS notifier_rows WHERE {condition} ORDER BY {column} LIMIT {limit}"  # noqa: S608 - the query is a person's, and may only read
