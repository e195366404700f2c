"""The query parameters of the history's lists. Conditions are equalities, and all of them must hold.

REST and GraphQL both take these; `control_api.history.records` answers them.
"""

from pydantic import Field

from control_api.page_query import PageQuery
from notifier.dead_letter import Stage
from notifier.outcome import Outcome, Reason, Trigger
from notifier.run import State


class AttemptQuery(PageQuery):
    """Which attempts; conditions are equalities, and all of them must hold."""

    producer: str | None = None
    message: str | None = Field(None, description="The message's id; unique with `producer`.")
    delivery: str | None = Field(None, description="The delivery's id.")
    configuration: str | None = None
    consumer: str | None = None
    recipient: str | None = Field(None, description="A username.")
    outcome: Outcome | None = None
    reason: Reason | None = None


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
