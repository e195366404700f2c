"""Pages: what all lists have in common. `{"items": […], "next_cursor": null}`, at most 500 items at a time."""

from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from control_api.http.body import JSON
from notifier.record import JsonObject


class PageQuery(BaseModel):
    """The query parameters of every list; one that is not named in the list's own class is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=500, description="How many items at most.")
    cursor: str | None = Field(None, max_length=500, description="`next_cursor` of the page before.")

    def conditions(self) -> dict[str, str | None]:
        """What the list's own parameters ask for."""
        own = self.model_dump(exclude={"limit", "cursor"})
        return {name: value if value is None else str(value) for name, value in own.items()}


class Page(BaseModel):
    """A page of a list."""

    items: list[JsonObject] = Field(description="The newest first, unless the list says otherwise.")
    next_cursor: str | None = Field(description="Ask with it for the next page; null: this is the last.")


def page(items: list[JsonObject], next_cursor: str | None = None) -> Response:
    """The answer."""
    return json_response({"items": items, "next_cursor": next_cursor})


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON as it is, without a model in between: the values come from our own functions."""
    return Response(orjson.dumps(value), status, headers=headers, media_type=JSON)
