"""`notifier redrive`: sends dead letters again."""

import asyncio
import json
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, get_args

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from notifier.errors import FieldError, InputError
from notifier.one_line import one_line
from notifier.outcome import Reason
from notifier.record import JsonObject
from notifier.settings import Settings
from notifier.validation import field_errors
from notifier_cli.environment import read_settings
from notifier_cli.moment import Moment

if TYPE_CHECKING:
    from control_api.redrive.criteria import RedriveInput

_SHOWN = 10  # letters that were not sent again


@click.command()
@click.option("--consumer", multiple=True, help="Of this consumer; may be given several times.")
@click.option("--configuration", multiple=True, help="Of this configuration; may be given several times.")
@click.option(
    "--reason", multiple=True, type=click.Choice(get_args(Reason)), metavar="REASON",
    help="Given up for this reason, such as exhausted or unauthorized; may be given several times.",
)  # fmt: skip
@click.option("--since", type=Moment(), help="Given up since then: 24h, 7d, or a time in RFC 3339.")
@click.option("--until", type=Moment(), help="Given up before then: the same.")
@click.option("--id", "ids", multiple=True, help="The dead letter of that id; may be given several times.")
@click.option("--per-second", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many, at most.")
@click.option("--dry-run", is_flag=True, help="Say how many it would be, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before it begins.")
@click.option("--json", "as_json", is_flag=True, help="Print what GET /api/v1/jobs/{id} answers at the end.")
def redrive(dry_run: bool, yes: bool, as_json: bool, **given: Any) -> None:
    """Send dead letters again: deliveries as new ones, with their ids; messages and ticks through the pipeline.

    Conditions must all hold, and at least one is needed. Each letter is sent again once, whatever else sends letters at the
    same time; one that is given up again is a new letter. What could not be read or was too large is sent again only where
    --reason or --id asks for it. Works with or without a running API, and needs the broker. Ctrl-C cancels it; what was sent
    stays sent.

    \b
    notifier redrive --consumer team-chat --since 24h --dry-run
    notifier redrive --consumer team-chat --reason exhausted --reason unauthorized --since 24h
    notifier redrive --id ci/build-42/builds/team-chat/alice

    Exit status: 0 all were sent again or cannot be; 1 Kafka did not take some, or it was cancelled; 2 the conditions are
    wrong; 3 no broker or no database.
    """
    settings = read_settings()
    asked = _asked({name: _plain(value) for name, value in given.items()})
    counted = asyncio.run(_count(settings, asked))
    if dry_run:
        click.echo(json.dumps(counted, ensure_ascii=False, indent=2) if as_json else _counts(counted))
        return
    if not counted["matched"]:
        if as_json:
            click.echo(json.dumps(counted, ensure_ascii=False, indent=2))
        else:
            click.echo("No dead letter is like that, or all of them were sent again already.")
        return
    if not yes and sys.stdin.isatty():
        click.echo(_counts(counted), err=True)
        click.confirm("Send them again?", abort=True, err=True)
    done = asyncio.run(_follow(settings, asked))
    if as_json:
        click.echo(json.dumps(done, ensure_ascii=False, indent=2))
    else:
        _tell(done)
    if done["state"] != "done" or done["failed"]:
        sys.exit(1)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _asked(given: JsonObject) -> "RedriveInput":
    from control_api.redrive.criteria import RedriveInput

    values = {name: value for name, value in given.items() if value not in (None, [])}
    if not values.keys() - {"per_second"}:
        text = "say which: --consumer, --configuration, --reason, --since, --until or --id"
        raise InputError(FieldError("", text))
    try:
        return RedriveInput.model_validate(values)
    except ValidationError as error:
        raise InputError(field_errors(error, values)) from None


async def _count(settings: Settings, asked: "RedriveInput") -> JsonObject:
    from control_api.redrive.command import count_command

    return await count_command(settings, asked)


async def _follow(settings: Settings, asked: "RedriveInput") -> JsonObject:
    from control_api.redrive.command import redrive_command

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("sending again", total=1)
        async with aclosing(redrive_command(settings, asked)) as states:
            async for found in states:
                over = found["redriven"] + found["skipped"] + found["failed"]
                words = f"{found['redriven']:,} sent again" if found["error"] is None else one_line(found["error"])[:60]
                progress.update(bar, completed=over, total=max(1, found["matched"]), description=words)
    return found


def _counts(counted: JsonObject) -> str:
    lines = [f"{counted['matched']:,} dead letters"]
    for name in ("reasons", "consumers"):
        lines += [f"  {count:>9,} {one_line(word)}" for word, count in counted[name].items()]
    return "\n".join(lines)


def _tell(done: JsonObject) -> None:
    click.echo(f"{done['redriven']:,} of {done['matched']:,} dead letters were sent again.")
    for why, count in done["why"].items():
        click.echo(f"  {count:>9,} not: {one_line(why)}")
    for sample in done["samples"][:_SHOWN]:
        click.echo(f"            {one_line(sample['id'])}")
    if done["state"] != "done":
        click.echo(f"It was {done['state']}" + (f": {done['error']}" if done["error"] else "") + ".", err=True)
