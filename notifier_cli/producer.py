"""`notifier producer preview`: which messages a producer would make of a payload."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import click

from notifier.errors import FieldError, InputError
from notifier.record import JsonObject
from notifier_cli.environment import read_settings
from notifier_cli.explain import read_json

_file = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.group()
def producer() -> None:
    """Try what producers make of what they are sent."""


@producer.command()
@click.argument("name")
@click.option("--payload", "file", type=_file, required=True, help="A file with a body as JSON; - is standard input.")
@click.option("--header", "headers", multiple=True, help="A header of the hook, `X-Event: build`; may be repeated.")
@click.option("--mapping", help="Another mapping to try: the name of a ready one, or a file with one as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print what POST /api/v1/producers/{name}/preview answers.")
def preview(name: str, file: Path, headers: tuple[str, ...], mapping: str | None, as_json: bool) -> None:
    """Show which messages a producer with a mapping would make of a payload. Nothing is written.

    Works with or without a running API.

    \b
    notifier producer preview alerts --payload sample.json
    notifier producer preview alerts --payload sample.json --mapping grafana
    """
    settings = read_settings()
    from control_api.preview.payload_preview import PayloadQuery, preview_payload_command
    from notifier.validation import validated

    asked: JsonObject = {"payload": read_json(file, "/payload"), "headers": dict(map(_header, headers))}
    if mapping is not None:
        path = Path(mapping)
        asked["mapping"] = read_json(path, "/mapping") if path.is_file() else mapping
    answer = asyncio.run(preview_payload_command(settings, name, validated(PayloadQuery, asked)))
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    for line in lines(answer):
        click.echo(line)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise InputError(FieldError("/headers", f"must be like `X-Event: build`; got {text!r}"))
    return name.strip(), value.strip()


def lines(answer: JsonObject) -> Iterator[str]:
    """The answer for people."""
    for number, message in enumerate(answer["messages"], 1):
        yield click.style(f"message {number}", bold=True)
        for field, value in message.items():
            if field not in ("producer", "labels", "content"):
                yield f"  {field}: {value}"
        for label, value in message.get("labels", {}).items():
            yield f"  {label}={value}"
        for line in str(message["content"]).splitlines():
            yield f"  │ {line}"
    if answer["omitted"]:
        yield f"and {answer['omitted']} more"
    if not answer["messages"]:
        yield "no messages"
    for problem in answer["problems"]:
        yield click.style(problem, fg="yellow")
