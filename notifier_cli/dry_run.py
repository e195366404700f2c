"""`notifier dry-run`: what a draft of a configuration would have delivered."""

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from notifier.record import now, rfc3339
from notifier.settings import Settings
from notifier_cli.environment import read_settings
from notifier_cli.moment import Moment

if TYPE_CHECKING:
    from control_api.dry_run.comparison import Comparison
    from control_api.dry_run.reading import Span
    from control_api.dry_run.report import Sample

_SHOWN = 10  # samples of each kind


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(exists=True, path_type=Path),
    help="A YAML file with the draft, as of `apply`; without one the configuration is taken as it is stored.",
)
@click.option("--configuration", help="Its name, where the file has several, or there is none.")
@click.option("--since", type=Moment(), default="24h", show_default=True, help="How long ago, or a time in RFC 3339.")
@click.option("--until", type=Moment(), default=None, help="The same; by default now.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def dry_run(
    path: Path | None, configuration: str | None, since: datetime, until: datetime | None, as_json: bool
) -> None:
    """Say what a change of a configuration would have delivered of the messages of the past. Nothing is sent or stored.

    Each message is judged at its own time, by the draft and by what is stored. Ctrl-C ends it.
    """
    settings = read_settings()
    from control_api.dry_run.question import span_of

    span = span_of(since, until, now())
    name, found = asyncio.run(_follow(settings, path, configuration, span))
    if as_json:
        click.echo(json.dumps(_answer(name, span, found), indent=2, ensure_ascii=False))
    else:
        _tell(name, span, found, drafted=path is not None)


async def _follow(
    settings: Settings, path: Path | None, configuration: str | None, span: "Span"
) -> "tuple[str, Comparison]":
    from control_api.dry_run.command import dry_run_command

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("reading", total=1.0)
        async for told in dry_run_command(settings, path, configuration, span):
            name, found = told
            report = found.report
            progress.update(bar, completed=report.progress, description=f"{report.messages:,} messages")
    return name, found


def _answer(name: str, span: "Span", found: "Comparison") -> dict[str, object]:
    """The same as `GET /dry_runs/{id}` answers of one that is done."""
    import msgspec

    return {
        "configuration": name,
        "since": rfc3339(span.since),
        "until": rfc3339(span.until),
        "state": "done",
        **msgspec.to_builtins(found.report),
        "samples": msgspec.to_builtins(found.samples),
    }


def _tell(name: str, span: "Span", found: "Comparison", *, drafted: bool) -> None:
    report = found.report
    click.echo(f"{name}, {rfc3339(span.since)} to {rfc3339(span.until)}:")
    click.echo(f"  {report.messages:>9,} messages, {report.considered:,} of its producers")
    if report.unreadable:
        click.echo(f"  {report.unreadable:>9,} records that are no messages")
    if report.failed:
        click.echo(f"  {report.failed:>9,} messages that a filter cannot judge; they would become dead letters")
    if not drafted:
        click.echo(f"  {report.delivers_now:>9,} deliveries as it is stored")
        return
    click.echo(f"  {report.would_deliver:>9,} deliveries by the draft, {report.delivers_now:,} as it is stored")
    for sign, colour, count, samples in (
        ("+", "green", report.added, found.samples.added),
        ("-", "red", report.dropped, found.samples.dropped),
    ):
        click.echo(click.style(f"  {sign}{count:>8,} {'added' if sign == '+' else 'dropped'}", fg=colour))
        for sample in samples[:_SHOWN]:
            click.echo(f"      {_sample(sample)}")
        if count > _SHOWN:
            click.echo(f"      and {count - _SHOWN:,} more")


def _sample(sample: "Sample") -> str:
    whom = f" to {sample.recipient}" if sample.recipient else ""
    return f"{sample.at:%Y-%m-%d %H:%M} {sample.producer}: {sample.text!r}{whom} by {sample.consumer}: {sample.why}"
