"""`notifier history`, `notifier rollback` and `notifier audit`: what was changed, by whom, and back again. No API need run."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from control_api.definitions.differences import is_masked
from notifier.grapheme import shortened
from notifier.one_line import one_line
from notifier.outcome import Kind
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

_KIND = click.Choice(get_args(Kind))
_SHOWN = 60  # characters of a value
_COLOURS = {"add": "green", "replace": "yellow", "remove": "red"}
_SIGNS = {"add": "+", "replace": "~", "remove": "-"}


@click.command()
@click.argument("kind", type=_KIND)
@click.argument("name")
@limit_option
@cursor_option
@json_option
def history(kind: Kind, name: str, limit: int, cursor: str | None, as_json: bool) -> None:
    """Show what each change made of a definition, the newest first, also of one that was deleted.

    \b
    notifier history configuration builds
    notifier rollback configuration builds --version 12
    """
    settings = read_settings()
    from control_api.definitions.versions import history_command
    from control_api.page_query import PageQuery

    query = query_of(PageQuery, {"limit": limit, "cursor": cursor})
    items, next_cursor = asyncio.run(history_command(settings, kind, name, query))
    show_page(items, next_cursor, _show_versions, as_json=as_json)


@click.command()
@click.argument("kind", type=_KIND)
@click.argument("name")
@click.option("--version", required=True, type=click.IntRange(1, 2**63 - 1), help="As `notifier history` numbers it.")
def rollback(kind: Kind, name: str, version: int) -> None:
    """Make a definition what it was in a version. That is a new version, so it can be undone the same way.

    A definition that was deleted is brought back. Secrets stay as they are stored now: no history has them.
    Where the version has another address for one, going back is refused.
    """
    settings = read_settings()
    from control_api.definitions.versions import Rollback, rollback_command

    click.echo(asyncio.run(rollback_command(settings, Rollback(kind=kind, name=name, version=version))))


@click.command()
@click.option("--actor", help="Who did it, for instance `account ada` or `cli`.")
@click.option("--kind", type=click.Choice([*get_args(Kind), "token", "account", "job"]), help="Of what.")
@click.option("--name", help="Of the definition or account; the id of a token or job.")
@click.option("--action", help="What was done, for instance `patch`, `apply`, `rollback`, `run`, `sign_in_failed`.")
@since_option
@until_option
@limit_option
@cursor_option
@json_option
def audit(limit: int, cursor: str | None, as_json: bool, **conditions: str | None) -> None:
    """Show who did what and when: changes of definitions, tokens and accounts, runs by hand, sign-ins.

    \b
    notifier audit --since 24h
    notifier audit --action sign_in_failed
    """
    settings = read_settings()
    from control_api.definitions.audit import AuditQuery
    from control_api.definitions.versions import audit_command

    query = query_of(AuditQuery, {"limit": limit, "cursor": cursor, **conditions_of(conditions)})
    items, next_cursor = asyncio.run(audit_command(settings, query))
    show_page(items, next_cursor, _show_entries, as_json=as_json)


def _show_versions(items: list[JsonObject]) -> None:
    for item in items:
        version = click.style(f"version {item['version']}", bold=True)
        click.echo(f"{version}  {moment_of(item)}  {item['action']}  by {one_line(item['actor'])}")
        for change in item["changes"]:
            for sign, text in _lines(change):
                click.echo(f"    {click.style(f'{sign} {text}', fg=_COLOURS[change['op']])}")


def _show_entries(items: list[JsonObject]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("when", "who", "did", "what", "changed"):
        table.add_column(heading, overflow="fold")
    for item in items:
        what = f"{item['kind']} {item['name']}".strip()
        changed = "; ".join(f"{sign} {text}" for change in item["changes"] for sign, text in _lines(change))
        texts = (moment_of(item), item["actor"], item["action"], what, shortened(changed, 4 * _SHOWN))
        table.add_row(*(Text(one_line(text)) for text in texts))  # as text: `[…]` would be markup
    console = Console()
    (console if console.is_terminal else Console(width=400)).print(table)  # in a pipe each entry is one line


def _lines(change: JsonObject) -> Iterator[tuple[str, str]]:
    """The sign and the words of a change; of a whole document, those of each of its fields that says something."""
    sign = _SIGNS[change["op"]]
    value = change["after"] if change["op"] == "add" else change["before"]
    if change["pointer"] == "" and isinstance(value, dict):
        for field, part in value.items():
            if part not in (None, [], {}, False):
                yield sign, one_line(f"/{field} {_value(part)}")
    elif change["op"] == "replace":
        yield sign, one_line(f"{change['pointer']} {_value(change['before'])} → {_value(change['after'])}")
    else:
        yield sign, one_line(f"{change['pointer']} {_value(value)}")


def _value(value: Any) -> str:
    if is_masked(value):
        return "(new secret)" if "changed" in value else "(secret)"
    if isinstance(value, str) and "\n" in value:
        return f"({value.count(chr(10)) + 1} lines)"
    return shortened(json.dumps(value, ensure_ascii=False), _SHOWN)
