"""ExplainQuery: what is asked, as REST, GraphQL and the command line ask it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from notifier.bounds import BoundedTime
from notifier.errors import FieldError, InputError
from notifier.record import JsonObject

MAX_ID = 512  # characters, as of a message


class MessageQuery(BaseModel):
    """Which message is meant: one that is given, or one on the topic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: JsonObject | None = Field(None, description="A message, as it is pushed; or `producer` and `id`.")
    producer: str | None = Field(None, max_length=MAX_ID, description="With `id`: of a message on the topic.")
    id: str | None = Field(None, max_length=MAX_ID, description="Its id, within the topic's retention of 7 days.")

    @property
    def is_on_topic(self) -> bool:
        """Whether it asks about a message on the topic."""
        return self.message is None


class ConfigurationExplainQuery(MessageQuery):
    """Why a message reached or did not reach each person, by one configuration."""

    receiver: str | None = Field(
        None, max_length=MAX_ID, description="About this person alone: a username, or a name in the producer's world."
    )
    at: BoundedTime | None = Field(
        None, description="The moment of the decision. Absent: when a message came, else now."
    )
    as_of: Literal["then", "now"] | BoundedTime | None = Field(
        None,
        description="Whose definitions count: `then`, as they were when the message came, which is so for one on the topic;"
        " `now`; or as they were at a time.",
    )
    draft: JsonObject | None = Field(
        None, description="The configuration as it might be, as PUT takes it; by the definitions of now."
    )


class ExplainQuery(ConfigurationExplainQuery):
    """Why a message reached or did not reach each person."""

    configuration: str | None = Field(None, max_length=100, description="About this configuration alone.")


def check_query(query: ConfigurationExplainQuery) -> None:
    """Raises InputError where it is not clear which message is meant, or by whose definitions."""
    check_message(query)
    if query.message is not None and query.as_of == "then":
        raise InputError(FieldError("/as_of", "is of a message on the topic: give `now` or a time"))


def check_message(query: MessageQuery) -> None:
    """Raises InputError where it is not clear which message is meant."""
    given = query.producer is not None or query.id is not None
    if query.message is not None and given:
        raise InputError(FieldError("/message", "stands in place of `producer` and `id`: give one or the other"))
    if query.message is None:
        missing = [name for name in ("producer", "id") if getattr(query, name) is None]
        if len(missing) == 2:
            raise InputError(FieldError("/message", "is required, or `producer` and `id`"))
        if missing:
            raise InputError(FieldError(f"/{missing[0]}", "is required"))
