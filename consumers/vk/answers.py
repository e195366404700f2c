"""What the answers of the VK API mean for a delivery. The calls are `consumers.vk.api`'s.

VK answers with the status 200 and an `error` for the whole call, or with an `error` for one recipient. Codes and their words
are those of https://github.com/VKCOM/vk-api-schema, `errors.json`, 5.199; lengths of waits are ours, since VK tells none.

error                                                        reason           then
none                                                         ok
6 too many requests per second                               rate_limited     tried again after 1 s
9 flood control, 1105 too many attempts                      rate_limited     tried again after 5 min
29 quota used up                                             rate_limited     tried again after 1 h
1, 10, 13, 32, 36, 43 and any that is not listed             server_error     tried again
2, 4, 5, 14, 16, 17, 20, 21, 23-25, 27, 28, 34, 35, 38, 41,  unauthorized     the consumer is held, and tried again by the
42, 101, 1114, 1116-1118; 3, 7, 8, 15 for the whole call                      schedule
7, 15, 30, 37, 900-902, 912, 917, 922, 925, 932, 935, 939,   forbidden        given up
943-947, 950, 962, 983, 985, 987, 988, 1012
18, 39, 40, 104, 113, 125, 927, 936                          not_found        given up
910, 914 too long                                                             sent once more, in halves (`is_too_long`)
19, 100, 103, 911, 913, 921, 940, 969                        invalid_content  given up
200 that cannot be read, or breaks off                       server_error     unknown: it may have been sent; tried again
any other status, no answer                                                   see `consumers.exchange`
"""

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from consumers.exchange import Failed, failed, unsure_of
from notifier import ACCEPTED, Result
from notifier.outcome import Reason

TOO_LONG = frozenset({910, 914})
_WAITS: Mapping[int, float] = {6: 1.0, 9: 300.0, 1105: 300.0, 29: 3600.0}  # seconds
_HELD = frozenset({2, 4, 5, 14, 16, 17, 20, 21, 23, 24, 25, 27, 28, 34, 35, 38, 41, 42, 101, 1114, 1116, 1117, 1118})
_HELD_AS_A_WHOLE = frozenset({3, 7, 8, 15})  # of one recipient they say no more than that
_FORBIDDEN = frozenset(
    {7, 15, 30, 37, 900, 901, 902, 912, 917, 922, 925, 932, 935, 939, 943, 944, 945, 946, 947, 950, 962, 983, 985}
    | {987, 988, 1012}
)
_NOT_FOUND = frozenset({18, 39, 40, 104, 113, 125, 927, 936})
_INVALID = frozenset({19, 100, 103, 910, 911, 913, 914, 921, 940, 969})
_HINTS: Mapping[int, str] = {
    5: "is the token right?",
    15: "may the token of the community send messages?",
    27: "is the token a community's?",
    901: "the person writes to the community first, or allows its messages",
}


def results_of(content: bytes, peers: list[int]) -> tuple[dict[int, Result], set[int]]:
    """The Result of each recipient, and which of them refuse the text as too long; raises Failed for all of them."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise unsure_of("server_error", "VK's answer cannot be read") from None
    if isinstance(answer, dict) and "error" in answer:
        code, said = _error_in(answer["error"])
        if code in TOO_LONG:
            return {peer: _result(code, said) for peer in peers}, set(peers)
        raise Failed(_result(code, said, whole=True))
    response = answer.get("response") if isinstance(answer, dict) else None
    if _is_id(response) and len(peers) == 1:
        return {peers[0]: ACCEPTED}, set()
    return _each(response if isinstance(response, list) else [], peers)


def refusal(content: bytes) -> Failed | None:
    """The failure that an answer tells for a call that asks for conversations; None where one may write there."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not answer.keys() & {"error", "response"}:
        return failed("deferred", "server_error", "VK's answer cannot be read")
    if "error" in answer:
        return Failed(_result(*_error_in(answer["error"]), whole=True))
    items = answer["response"].get("items") if isinstance(answer["response"], dict) else None
    can_write = items[0].get("can_write") if isinstance(items, list) and items and isinstance(items[0], dict) else None
    if not isinstance(can_write, dict) or can_write.get("allowed") is not False:
        return None
    reason = can_write.get("reason")
    return Failed(_result(reason if _is_id(reason) else 7, "nobody may write there"))


def _each(items: list[Any], peers: list[int]) -> tuple[dict[int, Result], set[int]]:
    """The same of a list with an object for each recipient. Of whom nothing is said, nothing is known."""
    unread = unsure_of("server_error", "VK's answer says nothing of this recipient").result
    results, too_long = dict.fromkeys(peers, unread), set()
    for item in items:
        peer = item.get("peer_id") if isinstance(item, dict) else None
        if not _is_id(peer) or peer not in results:
            continue
        if item.get("error"):
            code, said = _error_in(item["error"])
            results[peer] = _result(code, said)
            too_long |= {peer} if code in TOO_LONG else set()
        elif _is_id(item.get("message_id")):
            results[peer] = ACCEPTED
    return results, too_long


def _error_in(error: Any) -> tuple[int, str]:
    """Code and words of an error; 0 where it has no code. The whole call names them otherwise than one recipient."""
    if not isinstance(error, dict):
        return 0, str(error)
    code = error.get("error_code", error.get("code"))
    said = error.get("error_msg", error.get("description"))
    return (code if _is_id(code) else 0), (said if isinstance(said, str) else "")


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _result(code: int, said: str, *, whole: bool = False) -> Result:
    detail = f"VK answered {code}: {said or 'without words'}"
    if code in _HINTS:
        detail += f"; {_HINTS[code]}"
    if code in _WAITS:
        return failed("deferred", "rate_limited", detail, _WAITS[code]).result
    reason = _reason(code, whole)
    return failed("deferred" if reason == "server_error" else "refused", reason, detail).result


def _reason(code: int, whole: bool) -> Reason:
    if code in _HELD or (whole and code in _HELD_AS_A_WHOLE):
        return "unauthorized"
    if code in _FORBIDDEN:
        return "forbidden"
    if code in _NOT_FOUND:
        return "not_found"
    return "invalid_content" if code in _INVALID else "server_error"
