"""Pages of lists: `{"items": […], "next_cursor": null}`, at most 500 items each; and JSON answers."""

from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, Field

from control_api.http.media_type import JSON
from notifier.record import JsonObject


class Page(BaseModel):
    """A page of a list."""

    items: list[JsonObject] = Field(description="The newest first, unless the list says otherwise.")
    next_cursor: str | None = Field(description="Ask with it for the next page; null: this is the last.")


def page(items: list[JsonObject], next_cursor: str | None = None) -> Response:
    """A page as an answer."""
    return json_response({"items": items, "next_cursor": next_cursor})


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer, without a model in between: the values come from our own functions."""
    return Response(orjson.dumps(value), status, headers=headers, media_type=JSON)
