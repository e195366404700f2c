"""Made: the messages that a producer makes of a hook, read one by one.

What fits no message becomes one that shows what there is, so that it costs none of its neighbours.
"""

import asyncio
from collections.abc import Sequence

import orjson

from control_api.http.problems import Problem
from control_api.intake.occasion import Occasion
from control_api.rest.items import MAX_ITEMS
from control_api.rest.pushed import Checked, read_one
from notifier.errors import NotifierError
from notifier.one_line import one_line
from notifier.record import JsonObject

_SHOWN_CHARACTERS = 4_000


async def read_made(producer: str, messages: Sequence[JsonObject], occasion: Occasion) -> list[Checked]:
    """The messages as they may go to the topic, each in its place. Raises Problem 413 for more than one request may have."""
    if len(messages) > MAX_ITEMS:
        raise Problem(
            413, f"this is {len(messages)} messages, and a request may be {MAX_ITEMS} at most; send fewer at once"
        )

    def read() -> list[Checked]:
        return [_read(producer, message, position, occasion) for position, message in enumerate(messages)]

    return await asyncio.to_thread(read)  # one text for a hundred people is 50 MB


def _read(producer: str, message: JsonObject, position: int, occasion: Occasion) -> Checked:
    try:
        return read_one(orjson.dumps({**message, "producer": producer}), position, occasion)
    except (NotifierError, Problem, TypeError) as error:  # TypeError: orjson's, of what is no JSON
        why = one_line(error, 500)
    shown = {"content": f"A part of a hook fits no message ({why}): {one_line(message, _SHOWN_CHARACTERS)}"}
    return read_one(orjson.dumps({**shown, "producer": producer}), position, occasion)
