"""What the answers to a webhook mean for a delivery. The requests are `consumers.webhook.posting`'s.

answer                                  reason             then
2xx, also one that breaks off           ok
429                                     rate_limited       tried again after the time that Retry-After says
503                                     server_error       the same
400, 402, 406, 411, 413-417, 421, 422,  invalid_content    given up
424, 426, 428, 431
401                                     unauthorized       the consumer is held, and tried again by the schedule
403, 451                                forbidden          given up
404                                     not_found          tried again: gateways answer it while a service starts
405, 410                                not_found          given up
407 of a proxy                          connection         tried again
3xx                                     server_error       tried again; redirects are not followed
any other status                        server_error       tried again
an address that is not public           forbidden          given up
no connection, no trusted certificate   connection         tried again
the connection broke, no status         connection         unknown: it may have been taken; tried again
no status within REQUEST_S              timeout            unknown: it may have been taken; tried again
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from notifier import ACCEPTED, Result
from notifier.one_line import one_line
from notifier.outcome import Reason

REQUEST_S = 15.0  # that an answer is waited for; Standard Webhooks asks for 15 to 30
CONNECT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024  # what is longer is left unread
SHOWN = 500  # characters of an answer in an attempt

_INVALID = frozenset({400, 402, 406, 411, 413, 414, 415, 416, 417, 421, 422, 424, 426, 428, 431})
_PERMANENT: Mapping[int, Reason] = {
    **dict.fromkeys(_INVALID, "invalid_content"),
    401: "unauthorized",
    403: "forbidden",
    405: "not_found",
    410: "not_found",
    451: "forbidden",
}
_RETRYABLE: Mapping[int, Reason] = {404: "not_found", 407: "connection", 429: "rate_limited"}
_WAITS = frozenset({429, 503})  # whose Retry-After counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer to a request."""

    status: int
    text: str = ""  # as far as it came, at most MAX_ANSWER_BYTES
    retry_after_s: float | None = None  # as the header says


class NoAnswer(Exception):
    """There was no answer. Holds the Result of the delivery."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.detail)
        self.result = result


def result_of(answer: Answer, mask: Callable[[str], str], service: str = "the service") -> Result:
    """The Result that an answer means by its status. `mask` takes the secrets out of what is shown of it."""
    status = answer.status
    if 200 <= status < 300:
        return Result(detail=said(answer, mask, service)) if answer.text.strip() else ACCEPTED
    detail = said(answer, mask, service)
    if 300 <= status < 400:
        detail += "; redirects are not followed: write the address that it leads to"
    reason = _PERMANENT.get(status)
    if reason is not None:
        return Result(outcome="refused", reason=reason, detail=detail)
    return Result(
        outcome="deferred",
        reason=_RETRYABLE.get(status, "server_error"),
        detail=detail,
        retry_after_s=answer.retry_after_s if status in _WAITS else None,
    )


def result_of_reason(reason: Reason, result: Result) -> Result:
    """A result with another reason, and the outcome that goes with it."""
    refused = reason in ("unauthorized", "forbidden", "not_found", "invalid_content")
    return replace(result, outcome="refused" if refused else "deferred", reason=reason)


def said(answer: Answer, mask: Callable[[str], str], service: str) -> str:
    """`the service answered 400: no such field`, on one line."""
    words = one_line(mask(answer.text), SHOWN)
    return f"{service} answered {answer.status}{': ' if words else ''}{words}"


def no_answer(outcome: str, reason: Reason, detail: str) -> NoAnswer:
    """A failure without an answer; `unknown` where the request may have been taken."""
    if outcome == "unknown":
        return NoAnswer(Result(outcome="unknown", reason=reason, detail=f"{detail}; it may have been taken"))
    return NoAnswer(Result(outcome="refused" if outcome == "refused" else "deferred", reason=reason, detail=detail))
