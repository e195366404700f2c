"""What a mail server's replies mean for a delivery. The session is `consumers.email.mailer`'s; aiosmtplib is not imported here.

reply                                            reason             then
250 to the mail                                  ok
535, 534, 538, 530, other 5yz at sign-in         unauthorized       the consumer is held, and tried again by the schedule
a server that offers no way to sign in           unauthorized       the same
530, 535 at any other command                    unauthorized       the same
5yz to the sender                                forbidden          given up
552 to the sender; 5.3.4 and 5.2.3 anywhere      invalid_content    given up: the mail is too large
550, 551, 553, 521, 556 to the recipient         not_found          given up
5.7.z, 554 to the recipient                      forbidden          given up
552, 5.2.2 to the recipient                      server_error       tried again: the mailbox is full, or it is too much at once
other 5yz to the recipient                       not_found          given up
5.7.z to the mail                                forbidden          given up: taken for spam, or against a policy
5.1.z to the mail                                not_found          given up
other 5yz to the mail                            invalid_content    given up
4yz that speaks of a rate or of too many         rate_limited       tried again by the schedule
other 4yz, 421 anywhere                          server_error       tried again
5yz to the greeting or EHLO, any other code      server_error       tried again
no connection, no TLS, an untrusted certificate  connection         tried again; never sent without TLS instead
an address that is not public, nor allowed       forbidden          given up, see `notifier.network`
it ended before the mail                         connection         tried again
no reply before the mail                         connection         tried again
it ended after the mail began                    connection         unknown: it may have been sent; tried again
no reply to the mail within DATA_S               timeout            unknown: it may have been sent; tried again
a reply to the mail that cannot be read          server_error       unknown: it may have been sent; tried again

The codes are RFC 5321's, those with dots RFC 3463's, 521 and 556 RFC 7504's; 530, 534, 535 and 538 RFC 4954's. RFC 5321 in
4.5.3.1.10 asks to take 552 to a recipient for a failure that passes. SMTP has no word for how long to wait.
"""

import re  # for our own constant patterns
from collections.abc import Mapping
from typing import Literal

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.one_line import one_line
from notifier.outcome import Reason

CONNECT_S = 10.0
COMMAND_S = 30.0  # that a reply to a command is waited for
DATA_S = 120.0  # the same after the mail itself; servers look for spam and viruses meanwhile
_SHOWN = 300  # characters of what a server says

Stage = Literal["greeting", "sign-in", "sender", "recipient", "mail"]

_ENHANCED = re.compile(r"\b([245])\.([0-9]{1,3})\.([0-9]{1,3})\b", re.ASCII)
_TOO_MANY = re.compile(
    r"\brate|too many|too fast|too often|throttl|quota exceeded for|limit exceeded|exceeded the", re.I
)
_SIGN_IN = frozenset({530, 534, 535, 538})
_TOO_LARGE = frozenset({"5.3.4", "5.2.3"})
_FULL = "5.2.2"
_BY_CODE: Mapping[Stage, Mapping[int, Reason]] = {
    "sender": {552: "invalid_content"},
    "recipient": {554: "forbidden"},
}
_BY_STAGE: Mapping[Stage, Reason] = {"sender": "forbidden", "recipient": "not_found", "mail": "invalid_content"}
_WHAT: Mapping[Stage, str] = {
    "greeting": "the connection",
    "sign-in": "the username and password",
    "sender": "the sender",
    "recipient": "the recipient",
    "mail": "the mail",
}


class Unsure(Exception):
    """The mail may have been sent. Holds the reason and the words that the attempt records."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


def failure_of(stage: Stage, code: int, said: str) -> DeliveryError | Unsure:
    """The error for a reply that is no success, by its code and the enhanced code that its text begins with."""
    shown = one_line(said, _SHOWN)
    if not 400 <= code < 600:
        if stage == "mail":
            return Unsure("server_error", f"the mail server's reply cannot be read; it may have been sent: {shown}")
        return Retryable("server_error", f"the mail server answered {_WHAT[stage]} oddly: {code} {shown}")
    text = f"the mail server refused {_WHAT[stage]}: {code} {shown}"
    if code < 500:
        return Retryable("rate_limited" if _TOO_MANY.search(said) else "server_error", text)
    if stage == "greeting":
        return Retryable("server_error", text)
    found = _ENHANCED.search(said)
    enhanced = found[0] if found is not None and found[1] == "5" else ""
    if stage == "recipient" and (code == 552 or enhanced == _FULL):
        return Retryable("server_error", text)
    return Permanent(_refusal(stage, code, enhanced), text)


def _refusal(stage: Stage, code: int, enhanced: str) -> Reason:
    if stage == "sign-in" or code in _SIGN_IN:
        return "unauthorized"
    if enhanced in _TOO_LARGE:
        return "invalid_content"
    if stage != "sender" and enhanced.startswith("5.7."):
        return "forbidden"
    if stage == "mail" and enhanced.startswith("5.1."):
        return "not_found"
    return _BY_CODE.get(stage, {}).get(code) or _BY_STAGE[stage]
