"""`notifier send-test`: one message by one consumer, now, and what its service answered. No API need run."""

import asyncio
import json

import click

from notifier.one_line import one_line
from notifier_cli.environment import read_settings


@click.command()
@click.argument("consumer")
@click.option("--user", help="Who gets it. A consumer that writes to people needs one.")
@click.option("--text", help="What it says; else that it is a test.")
@click.option("--json", "as_json", is_flag=True, help="Print what POST /api/v1/consumers/{name}/test answers.")
def send_test(consumer: str, user: str | None, text: str | None, as_json: bool) -> int:
    """Send one message by a consumer and show what its service answers.

    A delivery worker sends it, at the consumer's pace; no filter is asked.

    \b
    notifier send-test team-chat
    notifier send-test to-people --user alice --text "Do you read me?"

    Exit status: 0 the service took it; 1 it did not, or nobody tried so far.
    """
    settings = read_settings()
    from control_api.send_test import TestInput, send_test_command
    from notifier.validation import validated

    asked = validated(TestInput, {"user": user, "text": text})
    answer = asyncio.run(send_test_command(settings, consumer, asked))
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    elif answer["outcome"] == "accepted":
        click.echo(f"sent by {consumer}" + (f": {one_line(answer['detail'])}" if answer["detail"] else ""))
    elif answer["state"] == "waiting":
        click.echo(f"waiting: {one_line(answer['detail'])}", err=True)
    else:
        click.echo(f"{answer['outcome']}, {answer['reason']}: {one_line(answer['detail'] or '')}", err=True)
    return 0 if answer["outcome"] == "accepted" else 1
