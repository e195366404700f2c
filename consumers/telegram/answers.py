"""What the Bot API's answers mean for a delivery. The calls are `consumers.telegram.bot`'s; aiogram is not imported here.

answer                                       reason             then
200                                          ok
200, but what follows cannot be read         server_error       unknown: it may have been sent; tried again
200 with an `error_code`                                        as if that were the status
429, 400 that says how long to wait          rate_limited       tried again after exactly that time, rounded up
400 chat, user or topic not found            not_found          given up
400 no right to write there                  forbidden          given up
400 the group became a supergroup                               sent once more, to the supergroup (`Moved`)
400 the topic not found or closed            not_found, forbidden  sent once more, to the chat itself (`TopicRefused`)
400 entities that cannot be read             invalid_content    sent once more, without markup (`MarkupRefused`)
400 no right to send documents there, 413    forbidden, invalid_content  sent once more, as texts (`DocumentRefused`)
402, 403, 451                                forbidden          given up
401 wrong or revoked token                   unauthorized       the consumer is held, and tried again by the schedule
404 no such bot, or not a Bot API            unauthorized       the same
405, 410                                     not_found          given up
406                                          as 400
400, 406, 413 and any other 4xx              invalid_content    given up
407 of a proxy                               connection         tried again
408, 409, 425, 5xx, 3xx and any other status server_error       tried again
no connection                                connection         tried again
the connection broke after the request       connection         unknown: it may have been sent; tried again
no answer within REQUEST_S                   timeout            unknown: it may have been sent; tried again
"""

import json
import re  # for our own constant patterns
from collections.abc import Mapping
from typing import Any

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.outcome import Reason
from notifier.record import now
from notifier.retry_after import retry_after_s

REQUEST_S = 15.0  # that an answer is waited for
DOCUMENT_S = 60  # the same where a file is sent

# 400 has one type of error for everything, so here the words decide; they have been the same for years. Words in capitals
# are those of Telegram itself, which the Bot API passes on: https://core.telegram.org/method/messages.sendMessage
_FORBIDDEN = re.compile(
    "not enough rights|have no rights|need administrator rights|kicked|banned|blocked|deactivated|frozen|forbidden"
    "|restricted|privacy|not a member|not_participant|can't initiate|can't send messages|_private|topic_closed"
    "|chat_admin_required|(?:premium|payment)_required"
)
_NOT_FOUND = re.compile(
    "not found|not_found|chat_id is empty|chat was deleted|was upgraded to a supergroup|not_occupied|not_supported"
    "|invalid (?:topic identifier|(?:chat|user)_id)|wrong (?:chat|user)_id"
    "|(?:peer|chat|channel|user|username|topic|thread|top_msg)(?:_id)?_(?:invalid|deleted|empty)"
)
_TOPIC = re.compile(
    "message thread not found|invalid topic identifier|topic_(?:closed|deleted|id_invalid)|(?:thread|top_msg)_id_invalid"
)
_MARKUP = re.compile(
    "can't parse (?:message ?)?(?:entit|text|caption)|entit(?:y|ies)_|entity url|wrong message entity|entities[_ ]too[_ ]long"
)
_DOCUMENT = re.compile(
    "rights to send (?:documents|files|media)|send_(?:docs|media)_forbidden|media_invalid|file is too big"
)
_WAIT = re.compile("(?:slowmode|flood)(?:_premium)?_wait_([0-9]{1,9})")
_PERMANENT: Mapping[int, Reason] = {
    401: "unauthorized",
    402: "forbidden",
    403: "forbidden",
    404: "unauthorized",  # a chat that is not found is a 400
    405: "not_found",
    410: "not_found",
    451: "forbidden",
}
_PASSES = frozenset({408, 409, 425})  # 4xx that another try may not meet


class Moved(Exception):
    """The group became the supergroup `chat_id`; nothing was sent."""

    def __init__(self, chat_id: int) -> None:
        super().__init__(moved_to(chat_id))
        self.chat_id = chat_id


class TopicRefused(Permanent):
    """The topic is not there, or closed; nothing was sent. The chat itself may be written to."""


class MarkupRefused(Permanent):
    """The entities of a text are not such as Telegram takes; nothing was sent. The text alone may be."""


class DocumentRefused(Permanent):
    """The chat takes no documents, or none so large; nothing was sent. Texts may be."""


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
    if status == 407:
        return Retryable("connection", text)
    if 400 <= status < 500 and status not in _PASSES:
        return failure_of_words(text, said)
    return Retryable("server_error", text, wait_s if status == 503 else None)


def failure_of_words(text: str, said: str) -> DeliveryError:
    """The error for a refusal whose words alone say why: `said`, within the whole `text`."""
    said = said.lower()
    wait = _WAIT.search(said)
    if wait is not None:
        return Retryable("rate_limited", text, float(wait[1]))
    reason: Reason = "not_found" if _NOT_FOUND.search(said) else "invalid_content"
    if _FORBIDDEN.search(said):
        reason = "forbidden"
    refused = Permanent
    for pattern, more in ((_TOPIC, TopicRefused), (_MARKUP, MarkupRefused), (_DOCUMENT, DocumentRefused)):
        if pattern.search(said):
            refused = more
    return refused(reason, text)


def error_code_in(content: str) -> int | None:
    """The status of a refusal that came with the status 200, as some gateways send it on; None where it is none."""
    answer = _fields(content) if '"error_code"' in content else {}
    code = answer.get("error_code")
    return code if answer.get("ok") is False and type(code) is int and 400 <= code < 600 else None


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
