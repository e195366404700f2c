"""What the answers of the MAX bot API mean for a delivery. The calls are `consumers.max.api`'s.

A refusal is JSON with a `code` in words; statuses are those of dev.max.ru/docs-api, codes those that the API has been seen to
give. The code counts before the status.

answer                                                reason             then
200                                                   ok
200, but what follows cannot be read                  server_error       unknown: it may have been sent; tried again
429, too.many.requests, rate.limit.exceeded           rate_limited       tried again, after the time in Retry-After
401, verify.token, deprecated.token                   unauthorized       the consumer is held, and tried again by the schedule
404 without a code: it is not the bot API             unauthorized       the same
402, 403, 451, chat.denied, access.denied             forbidden          given up: the bot was stopped, or may not write there
404 with a code, 405, 410, chat.not.found             not_found          given up
400 for the markup                                                       sent once more, plain
400 and any other 4xx                                 invalid_content    given up
400 attachment.not.ready                              server_error       asked for again within the try, then tried again
503, service.unavailable, any other status            server_error       tried again, after the time in Retry-After of a 503
no answer                                                                see `consumers.exchange`
"""

import json
from collections.abc import Mapping
from typing import Any

from consumers.exchange import Answer, failed, failure_of_status, unsure_of
from notifier.outcome import Reason

NOT_READY = "attachment.not.ready"
_REASONS: Mapping[str, Reason] = {
    "verify.token": "unauthorized",
    "deprecated.token": "unauthorized",
    "chat.denied": "forbidden",
    "access.denied": "forbidden",
    "chat.not.found": "not_found",
    "dialog.not.found": "not_found",
    "user.not.found": "not_found",
    "not.found": "not_found",
    "too.many.requests": "rate_limited",
    "rate.limit.exceeded": "rate_limited",
    "service.unavailable": "server_error",
    NOT_READY: "server_error",
}
_STATUSES: Mapping[int, Reason] = {403: "forbidden", 404: "not_found"}  # with a code of the API
_LATER = frozenset({"rate_limited", "server_error"})


def check_answer(answer: Answer, *, sends: bool) -> dict[str, Any]:
    """The JSON object of an answer that took what it was asked. Raises Failed for any other; see the table above."""
    fields = _fields(answer.content)
    code = code_of(answer)
    if answer.status == 200 and fields is not None and not code:
        return fields
    if answer.status == 200 and not code:
        if sends:
            raise unsure_of("server_error", "MAX's answer cannot be read")
        raise failed("deferred", "server_error", "MAX's answer cannot be read")
    message = (fields or {}).get("message")
    said = ": ".join(filter(None, (code, message if isinstance(message, str) else "")))
    reason = _REASONS.get(code) or (_STATUSES.get(answer.status) if code else None)
    if reason is not None:
        text = f"MAX answered {answer.status}: {said}"
        wait_s = answer.retry_after_s if answer.status in (429, 503) else None
        raise failed("deferred" if reason in _LATER else "refused", reason, text, wait_s)
    if answer.status == 200:
        raise failed("deferred", "server_error", f"MAX answered 200: {said}")
    raise failure_of_status("MAX", answer, said, "NOTIFIER_MAX_API")


def code_of(answer: Answer) -> str:
    """The code of a refusal; empty where there is none."""
    code = (_fields(answer.content) or {}).get("code")
    return code if isinstance(code, str) else ""


def _fields(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
