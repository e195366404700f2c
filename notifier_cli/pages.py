"""What commands share that show a page of a list: options, queries made of them, and the page itself."""

import json
import re  # for our own constant pattern
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError

from notifier.errors import InputError
from notifier.record import JsonObject, now
from notifier.validation import field_errors

_AGO = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_Model = TypeVar("_Model", bound=BaseModel)
_Show = Callable[[list[JsonObject]], None]

limit_option = click.option(
    "--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, the newest first."
)
cursor_option = click.option("--cursor", help="Go on where a page before ended; it is named at its end.")
json_option = click.option("--json", "as_json", is_flag=True, help="As REST answers it.")
since_option = click.option("--since", help="A time such as 2026-11-23T09:00:00Z, or how long ago: 30m, 12h, 7d.")
until_option = click.option("--until", help="The same.")


def query_of(model: type[_Model], given: dict[str, Any]) -> _Model:
    """The query of a list. Raises InputError."""
    try:
        return model(**given)
    except ValidationError as error:
        raise InputError(field_errors(error, given)) from None


def conditions_of(given: dict[str, str | None]) -> dict[str, Any]:
    """The options that were given; `since` and `until` as times."""
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return found | {name: time_of(found[name]) for name in ("since", "until") if name in found}


def show_page(items: list[JsonObject], next_cursor: str | None, show: _Show, *, as_json: bool) -> None:
    """Prints a page."""
    if as_json:
        click.echo(json.dumps({"items": items, "next_cursor": next_cursor}, ensure_ascii=False, indent=2))
        return
    show(items)
    if next_cursor is not None:
        click.echo(f"There is more: --cursor {next_cursor}", err=True)


def moment_of(item: JsonObject, field: str = "at") -> str:
    """A time of an item, for people."""
    return f"{datetime.fromisoformat(item[field]):%Y-%m-%d %H:%M:%S}Z"


def time_of(text: str) -> str | datetime:
    """The time that is so long ago; what is not of that form is left to the query."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhdw])", text)
    return text if found is None else now() - timedelta(**{_AGO[found[2]]: int(found[1])})
