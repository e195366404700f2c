"""`notifier messages`, `notifier attempts` and `notifier counters`: what came, and what became of it. No API need run.

What no API has read of the topics yet is not in the database; `notifier explain` reads it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from notifier.grapheme import shortened
from notifier.one_line import one_line
from notifier.outcome import Outcome, Reason
from notifier.record import JsonObject
from notifier_cli.environment import read_settings
from notifier_cli.pages import (
    conditions_of,
    cursor_option,
    json_option,
    limit_option,
    moment_of,
    query_of,
    show_page,
    since_option,
    until_option,
)

_SHOWN = 80  # characters of a text

_Command = Callable[..., None]


def _searched(command: _Command) -> _Command:
    """Adds the options of a search."""
    options = (
        click.option("-q", "--words", "q", help="Words that all occur in the message's title or content."),
        click.option("--producer"),
        click.option("--message", help="The message's id."),
        click.option("--recipient", help="A username, in any case."),
        click.option("--configuration"),
        click.option("--consumer"),
        click.option("--outcome", type=click.Choice(get_args(Outcome))),
        click.option("--reason", type=click.Choice(get_args(Reason))),
        since_option,
        until_option,
        limit_option,
        cursor_option,
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_searched
def messages(limit: int, cursor: str | None, as_json: bool, **conditions: str | None) -> None:
    """Find messages by their words, their producer, and what became of them, the newest first.

    \b
    notifier messages -q "build failed" --since 24h
    notifier messages --recipient alice --outcome refused
    """
    settings = read_settings()
    from control_api.history.commands import messages_command
    from control_api.history.queries import MessageQuery

    query = query_of(MessageQuery, {"limit": limit, "cursor": cursor, **conditions_of(conditions)})
    items, next_cursor = asyncio.run(messages_command(settings, query))
    show_page(items, next_cursor, _show_messages, as_json=as_json)


@click.command()
@_searched
@click.option("--delivery", help="The delivery's id.")
def attempts(limit: int, cursor: str | None, as_json: bool, **conditions: str | None) -> None:
    """Find attempts at deliveries, and why messages were not delivered, the newest first.

    \b
    notifier attempts --consumer team-chat --outcome refused --since 7d
    notifier attempts -q "disk full" --recipient alice
    """
    settings = read_settings()
    from control_api.history.commands import attempts_command
    from control_api.history.queries import AttemptQuery

    query = query_of(AttemptQuery, {"limit": limit, "cursor": cursor, **conditions_of(conditions)})
    items, next_cursor = asyncio.run(attempts_command(settings, query))
    show_page(items, next_cursor, _show_attempts, as_json=as_json)


@click.command()
@click.option("--configuration")
@click.option("--outcome", type=click.Choice(get_args(Outcome)))
@click.option("--reason", type=click.Choice(get_args(Reason)))
@since_option
@until_option
@click.option("--step", type=click.Choice(["minute", "hour", "day"]), default="hour", show_default=True)
@click.option("--by", default="configuration,outcome,reason", show_default=True, help="What is counted apart.")
@limit_option
@cursor_option
@json_option
def counters(limit: int, cursor: str | None, as_json: bool, **conditions: str | None) -> None:
    """Count attempts by minute, hour or day, the newest first; without --since of a day.

    \b
    notifier counters --configuration builds --since 7d --step day
    notifier counters --by outcome
    """
    settings = read_settings()
    from control_api.history.commands import counters_command
    from control_api.history.counters import CounterQuery

    query = query_of(CounterQuery, {"limit": limit, "cursor": cursor, **conditions_of(conditions)})
    answer = asyncio.run(counters_command(settings, query))
    show_page(answer["items"], answer["next_cursor"], _show_counters, as_json=as_json)


def _show_messages(items: list[JsonObject]) -> None:
    rows = (
        (moment_of(item), item["producer"], item["id"], item["receiver"], item["title"] or item["content"])
        for item in items
    )
    _show(("when", "producer", "id", "for", "text"), rows)


def _show_attempts(items: list[JsonObject]) -> None:
    rows = (
        (
            moment_of(item, "ended_at"),
            f"{item['producer']}/{item['message']}",
            item["configuration"],
            item["consumer"],
            item["recipient"],
            f"{item['outcome']}: {item['reason']}",
            item["detail"],
        )
        for item in items
    )
    _show(("when", "message", "configuration", "consumer", "to", "what", "why"), rows)


def _show_counters(items: list[JsonObject]) -> None:
    names = ("configuration", "outcome", "reason")
    rows = ((moment_of(item), *(item[name] for name in names), str(item["count"])) for item in items)
    _show(("from", *names, "attempts"), rows)


def _show(headings: Sequence[str], rows: Any) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            *(Text(one_line(shortened(text or "", _SHOWN))) for text in row)
        )  # as text: `[…]` would be markup
    console = Console()
    (console if console.is_terminal else Console(width=400)).print(table)  # in a pipe each item is one line
