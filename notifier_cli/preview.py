"""`notifier preview`: what the texts of a configuration would be, for each recipient."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from notifier.errors import InputError
from notifier.record import JsonObject
from notifier.settings import Settings
from notifier.validation import field_errors
from notifier_cli.environment import read_settings
from notifier_cli.explain import from_topics, read_json

if TYPE_CHECKING:
    from control_api.explain.explaining import Explaining
    from notifier.database import Database


@click.command()
@click.argument("configuration")
@click.option("--producer", help="With --id: of a message on the topic. Without: whose the message in the file is.")
@click.option("--id", "id_", help="The message's id.")
@click.option(
    "--message", "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A file with a message as JSON, as it is pushed; - is standard input.",
)  # fmt: skip
@click.option("--consumer", help="Only what this consumer sends.")
@click.option(
    "--draft", "draft", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A file with the configuration as it might be, as JSON.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what POST /api/v1/configurations/NAME/preview answers.")
def preview(
    configuration: str,
    producer: str | None,
    id_: str | None,
    file: Path | None,
    draft: Path | None,
    as_json: bool,
    **more: str | None,
) -> None:
    """Show what each consumer of a configuration would send to each recipient. Nothing is sent, and filters are not asked.

    Works with or without a running API.

    \b
    echo '{"title": "Build 42", "content": "failed"}' | notifier preview builds --message -
    notifier preview builds --producer ci --id build-42
    """
    asked: JsonObject = {"producer": producer, "id": id_, **more}
    if file is not None:
        asked["message"] = read_json(file, "/message")
        if isinstance(asked["message"], dict) and producer is not None and id_ is None:
            asked["message"].setdefault("producer", asked.pop("producer"))
    if draft is not None:
        asked["draft"] = read_json(draft, "/draft")
    answer = asyncio.run(previewed(read_settings(), configuration, asked))
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    for line in lines(answer):
        click.echo(line)


async def previewed(settings: Settings, configuration: str, asked: JsonObject) -> JsonObject:
    """The answer. Raises InputError, UnknownName, BrokerError and DatabaseError."""
    from control_api.access.actor import COMMAND_LINE
    from control_api.explain.query import check_message
    from control_api.preview.previewing import Previewing
    from control_api.preview.query import PreviewQuery

    given = {name: value for name, value in asked.items() if value is not None}
    try:
        query = PreviewQuery.model_validate(given)
    except ValidationError as error:
        raise InputError(field_errors(error, given)) from None
    check_message(query)

    async def answer(database: "Database", explaining: "Explaining") -> JsonObject:
        previewing = Previewing(database, explaining)
        try:
            return await previewing.answer(query, COMMAND_LINE, configuration)
        finally:
            await previewing.close()

    return await from_topics(settings, answer, on_topic=query.is_on_topic)


def lines(answer: JsonObject) -> Iterator[str]:
    """The answer for people."""
    version = "a draft" if answer["version"] is None else f"version {answer['version']}"
    yield f"{click.style(answer['configuration'], bold=True)} ({version})"
    if answer["problem"]:
        yield click.style(answer["problem"], fg="yellow")
    for text in answer["texts"]:
        yield ""
        whom = text["recipient"] or ", ".join(text["recipients"]) or "everyone"
        by = "" if text["text"] is None else " by its template" if text["templated"] else " by default"
        yield f"{click.style(text['consumer'], bold=True)} for {whom}{by}"
        if text["problem"]:
            yield click.style(f"  {text['problem']}", fg="yellow")
        if text["subject"]:
            yield f"  subject: {text['subject']}"
        for number, part in enumerate(text["parts"], 1):
            if len(text["parts"]) > 1:
                yield f"  part {number} of {len(text['parts'])}:"
            for line in part.splitlines():
                yield f"  │ {line}"
    if answer["omitted"]:
        yield f"and {answer['omitted']} more"
