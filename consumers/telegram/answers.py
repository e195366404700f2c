"""What the Bot API's answers mean for a delivery. The calls are `consumers.telegram.bot`'s; aiogram is not imported here.

answer                                       reason             then
200                                          ok
200, but what follows cannot be read         server_error       unknown: it may have been sent; tried again
429                                          rate_limited       tried again after exactly `retry_after`, rounded up
400 chat, user or topic not found            not_found          given up
400 no right to write there, 403             forbidden          given up
400, 413 of another kind                     invalid_content    given up
400 the group became a supergroup                               sent once more, to the supergroup (`Moved`)
401 wrong or revoked token                   unauthorized       given up
404 no such bot, or not a Bot API            not_found          given up
409, 5xx, 3xx and any other status           server_error       tried again
no connection                                connection         tried again
the connection broke after the request       connection         unknown: it may have been sent; tried again
no answer within REQUEST_S                   timeout            unknown: it may have been sent; tried again
"""

import json
from collections.abc import Mapping
from typing import Any

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.outcome import Reason
from notifier.record import now
from notifier.retry_after import retry_after_s

REQUEST_S = 15.0  # that an answer is waited for

# 400 has one type of error for everything, so here the words decide; they have been the same for years.
_NOT_FOUND = ("not found", "chat_id is empty", "peer_id_invalid", "chat was deleted")
_FORBIDDEN = (
    "not enough rights", "have no rights", "need administrator rights", "kicked", "blocked", "deactivated",
    "chat_write_forbidden", "chat_restricted", "topic_closed", "chat_admin_required",
)  # fmt: skip
_PERMANENT: Mapping[int, Reason] = {
    400: "invalid_content",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "invalid_content",
}


class Moved(Exception):
    """The group became the supergroup `chat_id`; nothing was sent."""

    def __init__(self, chat_id: int) -> None:
        super().__init__(moved_to(chat_id))
        self.chat_id = chat_id


class Unsure(Exception):
    """The text may have been sent. Holds the reason and the words that the attempt records."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


def moved_to(chat_id: int) -> str:
    """What becomes of the consumer's `chat_id`, in words for its owner."""
    return f"the group became the supergroup {chat_id}; write that as chat_id of the consumer"


def failure_text(status: int, said: str) -> str:
    """`Telegram answered 403: Forbidden: bot was kicked`; `said` is the part from the colon on, or empty."""
    return f"Telegram answered {status}{said}"


def failure_of_status(status: int, wait_s: float | None, said: str) -> DeliveryError:
    """The error for an answer that need not be the Bot API's (a proxy's page): its status alone decides.

    `wait_s` is what the answer asks for, see `asked_wait_s`; it counts with 429 and 503.
    """
    text = failure_text(status, said)
    if status == 429:
        return Retryable("rate_limited", text, wait_s)
    if status in _PERMANENT:
        return Permanent(_PERMANENT[status], text)
    return Retryable("server_error", text, wait_s if status == 503 else None)


def reason_of_400(said: str) -> Reason:
    """The reason of a status 400 of the Bot API, by its words."""
    said = said.lower()
    if any(words in said for words in _FORBIDDEN):
        return "forbidden"
    return "not_found" if any(words in said for words in _NOT_FOUND) else "invalid_content"


def description_in(content: str) -> str:
    """The `description` in an answer's JSON; empty where there is none."""
    said = _fields(content).get("description")
    return said.strip() if isinstance(said, str) else ""


def asked_wait_s(content: str, header: str | None) -> float | None:
    """The seconds that an answer asks to wait, in `parameters` of its JSON or in the header `Retry-After`: the longer of them.

    None where it asks for nothing. aiogram reads whole seconds only, and takes an answer with others for unreadable.
    """
    at = now()
    parameters = _fields(content).get("parameters")
    told = parameters.get("retry_after") if isinstance(parameters, dict) else None
    found = [wait for wait in (retry_after_s(told, at), retry_after_s(header, at)) if wait is not None]
    return max(found, default=None)


def _fields(content: str) -> dict[str, Any]:
    """The JSON object that an answer is; empty where it is none."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
