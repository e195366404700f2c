"""PreviewQuery: what is asked, as REST, GraphQL and the command line ask it."""

from pydantic import Field

from control_api.explain.query import MessageQuery
from notifier.record import JsonObject


class PreviewQuery(MessageQuery):
    """What a configuration would say of a message: one that is given, or one on the topic."""

    message: JsonObject | None = Field(
        None,
        description="A message, as it is pushed; without `producer` it is of the configuration's first one."
        " Or `producer` and `id`.",
    )
    consumer: str | None = Field(
        None, max_length=100, description="Only what this consumer of the configuration sends."
    )
    draft: JsonObject | None = Field(
        None, description="The configuration as it might be, as PUT takes it. Nothing is stored."
    )
