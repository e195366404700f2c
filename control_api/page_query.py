"""PageQuery: the query parameters that every list has, in REST and in GraphQL; and cursors that name the item before."""

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from notifier.errors import FieldError, InputError

T = TypeVar("T")


class PageQuery(BaseModel):
    """Which page of a list. A list derives from it and adds its own conditions; other parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=500, description="How many items at most.")
    cursor: str | None = Field(None, max_length=500, description="`next_cursor` of the page before.")

    def conditions(self) -> dict[str, str | None]:
        """The list's own parameters, by name."""
        own = self.model_dump(exclude={"limit", "cursor"})
        return {name: value if value is None else str(value) for name, value in own.items()}


def close_cursor(key: str) -> str:
    """The cursor of the page after the item of that key."""
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def open_cursor(cursor: str) -> str:
    """The key. Raises InputError for a cursor that no list answered."""
    try:
        key = b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        if not key or "\0" in key:  # which no key holds, and no database takes
            raise ValueError
    except (binascii.Error, ValueError):
        raise InputError(FieldError("/cursor", "is not one that a list answered; begin without a cursor")) from None
    return key


def part_of(items: Mapping[str, T], query: PageQuery) -> tuple[list[T], str | None]:
    """A page of items in the order of their keys, and the cursor of the next. Items that come meanwhile repeat and skip none."""
    after = "" if query.cursor is None else open_cursor(query.cursor)
    keys = sorted(key for key in items if key > after)
    found = keys[: query.limit]
    return [items[key] for key in found], close_cursor(found[-1]) if len(keys) > len(found) else None
