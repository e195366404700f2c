"""The query parameters of the history's lists. All conditions that are given must hold.

REST, GraphQL and the command line take these; `control_api.history.records` and `control_api.history.messages` answer them.
"""

from typing import Any

from pydantic import Field

from control_api.page_query import PageQuery
from notifier.answer import Button
from notifier.bounds import BoundedTime
from notifier.dead_letter import Stage
from notifier.outcome import Outcome, Reason, Trigger
from notifier.run import State

_WORDS = "Words that all occur in the message's title or content; beginnings of three letters or more are enough."
_USERNAME = "A username, in any case."


class SearchQuery(PageQuery):
    """Which attempts, or messages with such an attempt; all conditions must hold."""

    q: str | None = Field(None, max_length=500, description=_WORDS)
    producer: str | None = None
    message: str | None = Field(None, description="The message's id; unique with `producer`.")
    configuration: str | None = None
    consumer: str | None = None
    recipient: str | None = Field(None, description=_USERNAME)
    outcome: Outcome | None = None
    reason: Reason | None = None
    since: BoundedTime | None = Field(None, description="From this moment on.")
    until: BoundedTime | None = Field(None, description="Before this moment.")

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the conditions that are given."""
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}


class AttemptQuery(SearchQuery):
    """Which attempts; all conditions must hold. Times are of their end."""

    delivery: str | None = Field(None, description="The delivery's id.")


class MessageQuery(SearchQuery):
    """Which messages; all conditions must hold. Times are of their record on `messages`.

    Configuration, consumer, recipient, outcome and reason are those of one attempt at the message.
    """


class DeadLetterQuery(PageQuery):
    """Which dead letters; conditions are equalities, and all of them must hold."""

    id: str | None = Field(None, description="The dead letter's own id.")
    stage: Stage | None = None
    reason: Reason | None = None
    delivery: str | None = Field(None, description="The delivery's id.")
    producer: str | None = None
    message: str | None = Field(None, description="The message's id; unique with `producer`.")
    configuration: str | None = None
    consumer: str | None = None
    recipient: str | None = Field(None, description="A username.")

    def conditions(self) -> dict[str, str | None]:
        """By column: `id` is the row's own there."""
        own = super().conditions()
        own["letter"] = own.pop("id")
        return own


class RunQuery(PageQuery):
    """Which runs; conditions are equalities, and all of them must hold."""

    configuration: str | None = None
    state: State | None = None
    trigger: Trigger | None = None


class AnswerQuery(PageQuery):
    """Which answers; conditions are equalities, and all of them must hold."""

    producer: str | None = None
    message: str | None = Field(None, description="The message's id; unique with `producer`.")
    delivery: str | None = Field(None, description="The delivery's id.")
    configuration: str | None = None
    consumer: str | None = None
    user: str | None = Field(None, description="Username of who pressed.")
    button: Button | None = None
