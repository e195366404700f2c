"""Every error that Notifier raises on purpose, the tree drawn on top.

    NotifierError                    exit  what it means
    ├── SettingsError                 2    a setting is wrong or missing; the text names the variable
    ├── BrokerError                   3    no Kafka broker can be reached, or the embedded one cannot run
    ├── DatabaseError                 3    the database cannot be reached, or is not one that this program can use
    ├── RecordError                   1    a record cannot be used; holds the data
    │   ├── InvalidRecord                  it cannot be read or does not fit its schema
    │   ├── UnsupportedVersion             its `v` is newer than this program
    │   └── RecordTooLarge                 it is larger than the broker or the contract allows
    ├── InputError                    2    what a person wrote does not fit; names each field
    │   └── UnknownReference               it refers to definitions that are not there; names them
    ├── UnknownName                   1    nothing of that kind has that name
    ├── Forbidden                     1    who asks may not do that; names the scope that is missing
    │   ├── OtherTeam                      it is another team's; names the team
    │   └── OtherProducer                  the caller may hand over messages of one other producer alone
    ├── Conflict                      1    it contradicts what is stored
    │   ├── Duplicate                      that name is taken
    │   ├── StillReferenced                others refer to it; names them
    │   └── StaleVersion                   it was changed since it was read
    ├── SecretError                   2    a secret cannot be opened, or its key is missing
    ├── ScriptError                   1    a script could not run, or ran and failed
    │   ├── SandboxUnavailable             no sandbox is possible here, so scripts are refused
    │   ├── ScriptTimeout                  it ran longer than it may
    │   └── ScriptFailed                   its exit status, its output or a limit says so
    │       └── ScriptBroken               it does not parse, or a program or module that it needs is missing
    ├── TemplateFailed                1    a configuration's template gave no text for a delivery
    │   └── TemplateEnded                  it took more time or memory than it may
    └── DeliveryError                      a consumer could not deliver; says whether and when to try again
        ├── Retryable                      may succeed later
        └── Permanent                      will not, however often it is tried

An error says what to do next. The command line prints `str(error)` on one line and exits with `exit_code`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from notifier.outcome import Reason


class NotifierError(Exception):
    """The base of all errors raised on purpose; its text is one line for people."""

    exit_code = 1


class SettingsError(NotifierError):
    """A setting is wrong, contradictory or missing."""

    exit_code = 2


class BrokerError(NotifierError):
    """No Kafka broker can be reached, or the embedded broker cannot run here."""

    exit_code = 3


class DatabaseError(NotifierError):
    """The database cannot be reached, its lock is not given in time, or it is not one that this program can use."""

    exit_code = 3


class RecordError(NotifierError):
    """A record cannot be used. `data` is its value as read; `reason` the word that its dead letter carries.

    `id` is what its source calls it, where a producer gives the error in the place of a message.
    """

    reason: Reason = "invalid"

    def __init__(self, text: str, data: bytes | None = None, id_: str | None = None) -> None:
        super().__init__(text)
        self.data = data
        self.id = id_


class InvalidRecord(RecordError):
    """The record is not UTF-8 JSON, or does not fit its schema; the text names the field."""


class UnsupportedVersion(RecordError):
    """The record's `v` is a version that this program does not know."""

    reason: Reason = "unsupported_version"


class RecordTooLarge(RecordError):
    """The record is larger than a message may be."""

    reason: Reason = "too_large"


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field. `pointer` is a JSON Pointer (RFC 6901), for instance `/parameters/timeout_s`."""

    pointer: str
    detail: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.detail}"


class InputError(NotifierError):
    """Input of a person does not fit; `errors` names every field that is wrong."""

    exit_code = 2

    def __init__(self, errors: Sequence[FieldError] | FieldError, place: str = "") -> None:
        self.errors: tuple[FieldError, ...] = (errors,) if isinstance(errors, FieldError) else tuple(errors)
        self.place = place
        text = "; ".join(str(error) for error in self.errors)
        super().__init__(f"{place}: {text}" if place else text)


class UnknownReference(InputError):
    """Definitions refer to others that are not there. `missing` names those as `<kind>/<name>`, sorted."""

    def __init__(self, errors: Sequence[FieldError], missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(errors)


class UnknownName(NotifierError):
    """Nothing of that kind has that name."""

    def __init__(self, kind: str, name: str, known: Sequence[str] = ()) -> None:
        self.kind, self.name = kind, name
        hint = f" (known: {', '.join(sorted(known)[:20])})" if known else ""
        super().__init__(f"there is no {kind} {name!r}{hint}")


class Forbidden(NotifierError):
    """The caller lacks the scope `scope`."""

    def __init__(self, scope: str, what: str) -> None:
        self.scope = scope
        super().__init__(f"{what} needs the scope {scope!r}")


class OtherTeam(Forbidden):
    """It is of `team`, or of none, and not for a caller of the team `of`. `what` begins the sentence: "the filter 'loud'"."""

    def __init__(self, what: str, team: str | None, of: str) -> None:
        self.scope, self.team = "admin", team
        whose = "no team" if team is None else f"the team {team!r}"
        NotifierError.__init__(self, f"{what} is of {whose}, and the caller of the team {of!r}")


class OtherProducer(Forbidden):
    """The caller's token is bound to one producer, `of`, and it is about another, `producer`."""

    def __init__(self, producer: str, of: str) -> None:
        self.scope, self.producer = "push", producer
        NotifierError.__init__(self, f"the token is for messages of the producer {of!r} alone, not of {producer!r}")


class Conflict(NotifierError):
    """The request contradicts the stored state."""


class Duplicate(Conflict):
    """Something of that kind already has that name."""


class StillReferenced(Conflict):
    """Others refer to it. `by` names them as `<kind>/<name>`, sorted."""

    def __init__(self, kind: str, name: str, by: Sequence[str]) -> None:
        self.kind, self.name, self.by = kind, name, tuple(by)
        some = ", ".join(self.by[:10]) + (f" and {len(self.by) - 10} more" if len(self.by) > 10 else "")
        super().__init__(f"the {kind} {name!r} is still used by {some}; take it out there first")


class StaleVersion(Conflict):
    """It was changed since the version that the caller had read. `revision` is the one that is stored; None: none is."""

    def __init__(self, kind: str, name: str, expected: int, revision: int | None) -> None:
        self.expected, self.revision = expected, revision
        became = "deleted" if revision is None else "changed"
        there = "" if revision is None else f" (it is at {revision} now)"
        super().__init__(f"the {kind} {name!r} was {became} since revision {expected}{there}; read it again")


class SecretError(NotifierError):
    """A secret cannot be sealed or opened: the key is missing, or is not the one it was sealed with."""

    exit_code = 2


class ScriptError(NotifierError):
    """A script could not run, or ran and failed."""


class SandboxUnavailable(ScriptError):
    """No sandbox is possible on this machine, so scripts are refused; the text says why and what would help."""


class ScriptTimeout(ScriptError):
    """The script ran longer than its `timeout_s`; it and all it started were killed."""


class ScriptFailed(ScriptError):
    """The script's exit status, output or a limit says that it failed.

    `stderr` is the end of its standard error; `stdout` what it printed, where it ended by itself with another status than 0.
    """

    def __init__(self, text: str, stderr: str = "", stdout: bytes = b"") -> None:
        super().__init__(text)
        self.stderr = stderr
        self.stdout = stdout


class ScriptBroken(ScriptFailed):
    """The script does not parse, or what it needs is missing here; another try would end the same."""


class TemplateFailed(NotifierError):
    """A configuration's template gave no text for a delivery; the consumer's default text is sent instead."""


class TemplateEnded(TemplateFailed):
    """The template took more time or memory than a text needs, and its process was ended."""


class DeliveryError(NotifierError):
    """A consumer could not deliver. `reason` is a word of the contract; only delivery decides what happens next."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


class Retryable(DeliveryError):
    """May succeed later: not before `retry_after_s` seconds where the service said so."""

    def __init__(self, reason: Reason, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason, text)
        self.retry_after_s = retry_after_s


class Permanent(DeliveryError):
    """Will not succeed, however often it is tried; the delivery becomes a dead letter at once."""
