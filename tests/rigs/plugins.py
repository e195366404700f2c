"""Small plugins, good and bad, and a registry of them."""

from pydantic import BaseModel, SecretStr

from notifier.plugin import (
    Candidate,
    Consumer,
    ConsumerParameters,
    Filter,
    FilterParameters,
    Parameters,
    Producer,
    WorldParameters,
)
from notifier.registry import Registry


class ChatParameters(ConsumerParameters):
    """Parameters with secrets in several forms."""

    token: SecretStr
    spare: list[SecretStr] | None = None
    headers: dict[str, SecretStr] | None = None
    chat: str = "team"


class Chat(Consumer[ChatParameters]):
    """A chat.

    Second paragraph.
    """

    type = "chat"
    Parameters = ChatParameters


class Push(Producer[WorldParameters]):
    """Takes what comes."""

    type = "push"
    pull = False
    Parameters = WorldParameters


class Nothing(Filter[FilterParameters]):
    """Drops everything."""

    type = "nothing"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        return False


class Clumsy(Filter[FilterParameters]):
    """Cannot be made."""

    type = "clumsy"
    Parameters = FilterParameters

    def __init__(self, parameters: FilterParameters) -> None:
        raise KeyError("oops")


class Inner(BaseModel):
    """A model with a secret in it."""

    password: SecretStr


class HidingParameters(Parameters):
    """A secret where it would not be sealed."""

    login: dict[str, list[Inner] | None] = {}  # noqa: RUF012 - Pydantic copies it


class Hiding(Filter[FilterParameters]):
    """Hides a secret."""

    type = "hiding"
    Parameters = HidingParameters


REGISTRY = Registry((Chat, Push, Nothing, Clumsy))
