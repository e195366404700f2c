"""Sender: keep messages of given senders."""

from pydantic import Field

from filters.texts import Texts
from filters.wording import listed, quoted
from notifier.folded import folded
from notifier.plugin import Candidate, Filter, FilterParameters, Lookup


class SenderParameters(FilterParameters):
    """Parameters of `sender`."""

    senders: Texts = Field(
        description="Who may have sent the message: names as the producer writes them, or usernames."
        " Upper and lower case do not matter.",
        examples=[["octocat", "alice"]],
    )


class Sender(Filter[SenderParameters]):
    """Lets a message pass only when one of the given people sent it; one without sender does not pass.

    A name fits when it is the one that the message carries, or the username of the user whom that is.
    """

    type = "sender"
    Parameters = SenderParameters

    def __init__(self, parameters: SenderParameters) -> None:
        super().__init__(parameters)
        self.names = frozenset(map(folded, parameters.senders))

    def accepts(self, candidate: Candidate) -> bool:
        given, user = candidate.message.sender, candidate.sender
        return (given is not None and folded(given) in self.names) or (
            user is not None and folded(user.username) in self.names
        )

    def lookup(self, users: frozenset[str]) -> Lookup:
        return Lookup(field="sender", values=frozenset(self.names))

    def clause(self) -> str:
        return f"the sender is {listed(self.parameters.senders)}"

    def finding(self, candidate: Candidate) -> str:
        given, user = candidate.message.sender, candidate.sender
        if given is None and user is None:
            return "the message has no sender"
        who = quoted(given) if given is not None else ""
        if user is not None and (given is None or folded(user.username) != folded(given)):
            who = f"{who} (the user {user.username})" if who else quoted(user.username)
        wanted = listed(self.parameters.senders)
        return f"the sender {who} is {'one of' if self.accepts(candidate) else 'not'} {wanted}"
