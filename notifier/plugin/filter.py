"""Filter: which messages go on, judged for one recipient of one configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, TypeVar

from pydantic import Field

from notifier.message import Message
from notifier.outcome import Reason
from notifier.plugin.parameters import Parameters
from notifier.plugin.plugin import Plugin
from notifier.user import User


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One message for one recipient of one configuration: what a filter judges."""

    message: Message
    users: frozenset[str]  # usernames of the configuration
    at: datetime  # the moment of the decision; in a dry run the record's time
    sender: User | None = None  # none: not a known user
    receiver: User | None = None  # none: the message is for everyone and the configuration has no users


class FilterParameters(Parameters):
    """The base of every filter's parameters."""

    negate: bool = Field(False, description="Let pass what would be dropped, and drop what would pass.")
    on_error: Literal["dead_letter", "pass"] = Field(
        "dead_letter",
        description="What becomes of a message that the filter cannot judge: a dead letter, or let it pass.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup:
    """A filter's rule as a look at one field: it accepts messages with one of `values` there.

    | field | value | value where there is none |
    |---|---|---|
    | `receiver` | the receiver's username | None |
    | `severity` | the severity | None |
    | `sender` | the sender as the message names it, and the username of the user that is, both `notifier.folded` | None |
    | `labels.<name>` | the label's value | the empty text, as a missing label equals it |

    A sender matches if either of the two is among the values.
    """

    field: str
    values: frozenset[str | None]


F = TypeVar("F", bound=FilterParameters)


class Filter(Plugin[F]):
    """Lets a message pass or drops it; never edits it, keeps no state, does not wait for anything.

    `accepts` is the rule, and all that a filter must have. It must be fast and must not raise: what it raises for becomes a
    dead letter, or passes with `on_error: pass`, and is logged. The router asks it for every message that the filters before it
    let pass. A filter with a simpler rule may say so, and then costs less, down to nothing for messages that the index does
    not find:

    - `lookup`: the rule is a look at one field. The router puts it into its index and calls nothing.
    - `test`: the message alone decides. The router asks that function, once for each message and configuration.
    - `holds_until`: receiver and time alone decide. The router asks again only when the answer may have changed.

    Each of the three must decide exactly as `accepts`. The router applies `negate`.
    """

    kind = "filter"
    reason: ClassVar[Reason] = "filtered"  # recorded for messages that it drops

    def passes(self, candidate: Candidate) -> bool:
        """`accepts`, turned round by `negate`."""
        return bool(self.accepts(candidate)) is not self.parameters.negate

    def accepts(self, candidate: Candidate) -> bool:
        """Whether the message may pass."""
        raise NotImplementedError

    def lookup(self, users: frozenset[str]) -> Lookup | None:
        """Its rule as a look at one field, for a configuration with these users; None where it is more than that.

        Only for filters that drop with the reason `filtered`. Asked once when a configuration is compiled.
        """
        return None

    def test(self) -> Callable[[Message], bool] | None:
        """Its rule as a function of the message alone; None where it needs more of the candidate. Asked once, as above.

        Where there are thousands of filters of a type, `functools.partial(function, what it needs)` with one function for all
        costs least: the router is bound by cache misses, and a closure of each filter is one.
        """
        return None

    def holds_until(self, candidate: Candidate) -> datetime | None:
        """Where receiver and time alone decide: the time until which the answer for this receiver surely holds.

        None where it depends on something else. A time that is too early only costs another call.
        """
        return None

    def reason_for(self, candidate: Candidate) -> Reason:
        """Why it dropped this candidate, for the Attempt. Asked only about candidates that it dropped."""
        return self.reason

    def clause(self) -> str:
        """Its rule in words that complete "passes when …", without `negate`."""
        raise NotImplementedError

    def finding(self, candidate: Candidate) -> str:
        """What it finds in this candidate, in words that complete "passes: …" or "drops: …"; by default its rule."""
        return f"the rule is {'not ' if self.parameters.negate else ''}({self.clause()})"

    def says(self, candidate: Candidate) -> str:
        """Why it decides as it does about this candidate, in one plain sentence: "drops: the content contains 'wip'"."""
        return f"{'passes' if self.passes(candidate) else 'drops'}: {self.finding(candidate)}"
