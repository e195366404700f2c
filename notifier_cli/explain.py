"""`notifier explain`: why a message reached or did not reach each person."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from notifier.errors import BrokerError, FieldError, InputError, UnknownName
from notifier.record import JsonObject
from notifier.settings import Settings
from notifier.validation import field_errors
from notifier_cli.environment import read_settings

if TYPE_CHECKING:
    from control_api.explain.explaining import Explaining
    from notifier.database import Database

_COLOURS = {"passed": "green", "delivered": "green", "dropped": "yellow", "suppressed": "yellow", "failed": "red"}


@click.command()
@click.option("--producer", help="With --id: of a message on the topic.")
@click.option("--id", "id_", help="The message's id.")
@click.option(
    "--message", "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A file with a message as JSON, as it is pushed; - is standard input.",
)  # fmt: skip
@click.option("--configuration", help="Only what this configuration makes of it.")
@click.option("--receiver", help="Only about this person: a username, or a name in the producer's world.")
@click.option(
    "--as-of", "as_of", help="Whose definitions count: then, now or a time. Default: then, of one on the topic."
)
@click.option("--json", "as_json", is_flag=True, help="Print what POST /api/v1/explain answers.")
def explain(
    producer: str | None,
    id_: str | None,
    file: Path | None,
    as_json: bool,
    **more: str | None,
) -> None:
    """Say why a message reached or did not reach each person: what each filter and consumer made of it, or would.

    A message on the topic is explained by the definitions as they were when it came, and beside that as they are now.
    Works with or without a running API.

    \b
    notifier explain --producer ci --id build-42
    notifier explain --producer ci --id build-42 --receiver bob
    echo '{"producer": "ci", "receiver": "bob", "content": "build failed"}' | notifier explain --message -
    """
    asked: JsonObject = {"producer": producer, "id": id_, **more}
    if file is not None:
        asked["message"] = read_json(file, "/message")
    answer = asyncio.run(explained(read_settings(), asked))
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    for line in lines(answer):
        click.echo(line)


def read_json(file: Path, pointer: str) -> Any:
    """The JSON in a file; `-` is standard input. Raises InputError at the pointer."""
    with click.open_file(str(file), "rb") as opened:
        data = opened.read()
    try:
        return json.loads(data)
    except ValueError as error:
        raise InputError(FieldError(pointer, f"is not JSON: {error}"), str(file)) from None
    except RecursionError:
        raise InputError(FieldError(pointer, "is nested too deeply"), str(file)) from None


async def explained(settings: Settings, asked: JsonObject) -> JsonObject:
    """The answer. Raises InputError, UnknownName, BrokerError and DatabaseError."""
    from control_api.access.actor import COMMAND_LINE
    from control_api.explain.query import ExplainQuery, check_query

    given = {name: value for name, value in asked.items() if value is not None}
    try:
        query = ExplainQuery.model_validate(given)
    except ValidationError as error:
        raise InputError(field_errors(error, given)) from None
    check_query(query)

    async def answer(database: "Database", explaining: "Explaining") -> JsonObject:
        return await explaining.answer(query, COMMAND_LINE)

    return await from_topics(settings, answer, on_topic=query.is_on_topic)


async def from_topics(
    settings: Settings, answer: Callable[["Database", "Explaining"], Awaitable[JsonObject]], *, on_topic: bool
) -> JsonObject:
    """An answer; where it is about a message on the topic, once what no API has read of the topics yet is read.

    Raises what `answer` does, and BrokerError.
    """
    from control_api.explain.explaining import Explaining
    from control_api.history.follower import History
    from control_api.history.message_index import MessageIndex
    from control_api.migrate import upgraded
    from control_api.registry import load_registry

    async with upgraded(settings) as database:
        explaining = Explaining(settings, database, load_registry())
        try:
            if on_topic:
                await History(settings, database).catch_up()
                try:
                    return await answer(database, explaining)
                except UnknownName as error:
                    if error.kind != "message":
                        raise
                await MessageIndex(settings, database).catch_up()
            return await answer(database, explaining)
        except (KafkaError, TimeoutError) as error:
            raise BrokerError(f"the topics cannot be read: {str(error) or type(error).__name__}") from None
        finally:
            await explaining.close()


def lines(answer: JsonObject) -> Iterator[str]:
    """The answer for people."""
    yield click.style(answer["text"], bold=True)
    message, origin = answer["message"], answer["origin"]
    where = (
        ""
        if origin is None
        else f", which came at {origin['at']} ({origin['topic']}/{origin['partition']}/{origin['offset']})"
    )
    whose = {"then": "as they were then", "now": "as they are now"}.get(
        answer["as_of"], f"as they were at {answer['as_of']}"
    )
    yield f"The message {message['producer']}/{message['id']}{where}, by the definitions {whose} (revision {answer['revision']})."
    yield from _configurations(answer)
    if answer["attempts"] or answer["dead_letters"]:
        yield ""
        yield "What happened:"
    for attempt in reversed(answer["attempts"]):
        whom = f" for {attempt['recipient']}" if attempt["recipient"] else ""
        reason = "" if attempt["reason"] == "ok" else f" ({attempt['reason']})"
        detail = f": {attempt['detail']}" if attempt["detail"] else ""
        yield f"  {attempt['ended_at']}  {attempt['consumer'] or 'the router'}{whom}: {attempt['outcome']}{reason}{detail}"
    for letter in reversed(answer["dead_letters"]):
        yield f"  {letter['at']}  dead letter {letter['id']} ({letter['reason']}): {letter['error']}"
    if answer["now"] is not None:
        yield ""
        same = "the same" if _verdicts(answer) == _verdicts(answer["now"]) else answer["now"]["text"]
        yield f"By the definitions of now (revision {answer['now']['revision']}): {same}"


def _verdicts(explanation: JsonObject) -> list[Any]:
    """What two explanations are compared by."""
    return [explanation["reason"]] + [
        (
            part["configuration"],
            each["recipient"],
            each["verdict"],
            each["reason"],
            [one["verdict"] for one in each["consumers"]],
        )
        for part in explanation["configurations"]
        for each in part["recipients"]
    ]


def _configurations(answer: JsonObject) -> Iterator[str]:
    for part in answer["configurations"]:
        version = "a draft" if part["version"] is None else f"version {part['version']}"
        yield ""
        yield f"{click.style(part['configuration'], bold=True)} ({version}): {_word(part['verdict'], part['reason'])}"
        if not part["recipients"]:
            yield f"  {part['text']}"
        for recipient in part["recipients"]:
            yield f"  {recipient['recipient'] or 'everyone'}: {_word(recipient['verdict'], recipient['reason'])}"
            yield from _recipient(recipient)
        if part["omitted"]:
            yield f"  and {part['omitted']} more"
    if answer["omitted"]:
        yield f"and {answer['omitted']} more configurations"


def _recipient(recipient: JsonObject) -> Iterator[str]:
    width = max([len(step["filter"]) for step in recipient["steps"]], default=0)
    for step in recipient["steps"]:
        word = click.style(f"{step['verdict']:<8}", fg=_COLOURS[step["verdict"]])
        behind = "" if step["reached"] else " (behind the one that drops)"
        yield f"    {word} {step['filter']:<{width}}  {step['text']}{behind}"
    for consumer in recipient["consumers"]:
        word = click.style(consumer["verdict"], fg=_COLOURS[consumer["verdict"]])
        yield f"    → {word}: {consumer['text']}"
        for line in (consumer["rendered"] or "").splitlines():
            yield click.style(f"        │ {line}", dim=True)
    if not recipient["steps"] and not recipient["consumers"]:
        yield f"    {recipient['text']}"


def _word(verdict: str, reason: str) -> str:
    text = verdict.replace("_", " ")
    if reason != "ok" and verdict != "delivered":
        text += f" ({reason})"
    return click.style(text, fg=_COLOURS.get(verdict, "yellow"))
