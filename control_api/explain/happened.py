"""Happened: what became of a message, from the history, in words beside what should have become of it."""

from collections.abc import Mapping, Sequence

from control_api.access.actor import Actor
from control_api.access.teams import seen_history, sight_of
from control_api.explain.explanation import Explanation
from control_api.explain.words import sentence
from control_api.history import records
from control_api.history.queries import AttemptQuery
from control_api.models import DeadLetterRow
from control_api.models.record_fields import without_nul
from notifier.database import Database
from notifier.record import JsonObject

MAX_ATTEMPTS = 200  # the newest of one message
_TOLD = 5
_WORDS: Mapping[str, str] = {
    "accepted": "accepted it",
    "deferred": "could not take it yet, and it is tried again",
    "refused": "refused it",
    "unknown": "may have got it or not",
    "held": "holds it back",
    "suppressed": "was not given it",
}


async def happened(
    database: Database, actor: Actor, producer: str, id_: str
) -> tuple[list[JsonObject], list[JsonObject]]:
    """The attempts and the dead letters of a message that the actor sees, the newest first."""
    conditions = {"producer": without_nul(producer), "message": without_nul(id_)}  # as it is stored
    async with database.read() as session:
        query = AttemptQuery(**conditions, limit=MAX_ATTEMPTS)
        attempts, _ = await records.attempts(session, query, sight_of(actor))
        seen = seen_history(actor, DeadLetterRow)
        letters, _ = await records.dead_letters(session, conditions, MAX_ATTEMPTS, None, seen)
    return attempts, letters


def in_words(explanation: Explanation, attempts: Sequence[JsonObject]) -> str:
    """What the consumers said to what was passed on to them, as sentences; empty where nothing was passed on."""
    if not any(part.verdict == "delivered" for part in explanation.configurations):
        return ""
    last: dict[str, JsonObject] = {}
    for attempt in attempts:  # the newest first
        if attempt["consumer"] is not None:
            last.setdefault(attempt["delivery"], attempt)
    if not last:
        return "No consumer has answered yet."
    return " ".join([_told(attempt) for attempt in list(last.values())[:_TOLD]])


def _told(attempt: JsonObject) -> str:
    whom = f" for {attempt['recipient']}" if attempt["recipient"] else ""
    outcome = attempt["outcome"]
    reason = "" if outcome == "accepted" else f" ({attempt['reason']})"
    detail = f": {attempt['detail']}" if attempt["detail"] and outcome != "accepted" else ""
    return sentence(f"{attempt['consumer']} {_WORDS[outcome]}{whom}{reason}{detail}")
