"""What an answer of the process means for one URL. The process is `consumers.apprise.apprise_process`.

Apprise itself says only whether a service took a message, so the HTTP exchange below it decides.

answer                                       reason             then
taken                                        ok
429                                          rate_limited       tried again after the time that the service asks for
401, 407                                     unauthorized       the consumer is held, and tried again by the schedule
402, 403, 451                                forbidden          given up
404, 405, 410                                not_found          given up
408, 409, 425, 5xx, redirects                server_error       tried again; of 503 after the time that the service asks for
any other 4xx                                invalid_content    given up
a URL that Apprise does not know             invalid_content    given up
an address that is not public, nor allowed   forbidden          given up, see `notifier.network`
no connection                                connection         tried again
the connection broke, no answer              timeout            unknown: it may have been sent; tried again
no end of the call within CALL_S             timeout            unknown: the process is ended; tried again
not taken, and nothing of the above          server_error       tried again
"""

from collections.abc import Mapping, Sequence
from typing import Any

from consumers.pieces import without_pieces
from notifier import Result
from notifier.one_line import one_line
from notifier.outcome import Outcome, Reason
from notifier.record import now
from notifier.retry_after import retry_after_s

CALL_S = 60.0  # of one URL, all its requests together
_SHOWN = 300  # characters of what Apprise logs

_PERMANENT: Mapping[int, Reason] = {
    401: "unauthorized",
    402: "forbidden",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    407: "unauthorized",
    410: "not_found",
    451: "forbidden",
}
_PASSES = frozenset({408, 409, 425})
_WAITS = frozenset({429, 503})  # whose Retry-After counts


def result_of(answer: Mapping[str, Any], url: str) -> Result:
    """What the process's answer for a URL means; nothing of the URL but its scheme is in it."""
    if answer.get("sent") is True:
        return Result()
    scheme = url.partition(":")[0]
    said = one_line(masked(str(answer.get("log") or ""), url), _SHOWN)
    detail = f"{scheme}: {said}" if said else f"{scheme}: Apprise says no more than that it failed"
    if answer.get("refused"):
        detail = f"{scheme}: it does not lead to a public address; NOTIFIER_ALLOWED_ADDRESSES can allow it"
    outcome, reason = _meaning(answer)
    told = retry_after_s(answer.get("retry_after"), now()) if answer.get("status") in _WAITS else None
    return Result(outcome=outcome, reason=reason, detail=detail, retry_after_s=told)


def _meaning(answer: Mapping[str, Any]) -> tuple[Outcome, Reason]:
    status, error = answer.get("status"), answer.get("error")
    if answer.get("refused"):
        return "refused", "forbidden"
    if error == "unknown_url":
        return "refused", "invalid_content"
    if error == "timeout":
        return "unknown", "timeout"
    if error == "connection":
        return "deferred", "connection"
    if not isinstance(status, int) or status < 300:
        return "deferred", "server_error"
    if status == 429:
        return "deferred", "rate_limited"
    if status in _PERMANENT:
        return "refused", _PERMANENT[status]
    if 400 <= status < 500 and status not in _PASSES:
        return "refused", "invalid_content"
    return "deferred", "server_error"


def together(results: Sequence[Result]) -> Result:
    """One result of those of all URLs: tried again while that may help, given up where some service refused for good."""
    failed = [result for result in results if result.outcome != "accepted"]
    if not failed:
        return Result()
    again = [result for result in failed if result.outcome != "refused"]
    chosen = (again or failed)[0]
    details = "; ".join(result.detail or "" for result in failed)
    taken = f"; {len(results) - len(failed)} of {len(results)} took it" if len(results) > 1 else ""
    return Result(
        outcome=chosen.outcome,
        reason=chosen.reason,
        detail=details + taken,
        retry_after_s=max((one.retry_after_s for one in again if one.retry_after_s is not None), default=None),
    )


def masked(text: str, url: str) -> str:
    """The text with `***` in place of each piece of the URL: a user, a path or a parameter may be a secret."""
    return without_pieces(text.replace(url, "***"), url.partition("://")[2])
