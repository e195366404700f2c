"""Explanation: the answer to "why did bob not get it?", as REST, GraphQL and the command line give it."""

from datetime import datetime
from typing import Literal

import msgspec

from notifier.outcome import Reason
from notifier.record import JsonObject

StepVerdict = Literal["passed", "dropped", "failed"]
RecipientVerdict = Literal["passed", "dropped", "failed", "not_addressed"]
ConsumerVerdict = Literal["delivered", "suppressed", "failed"]
ConfigurationVerdict = Literal["delivered", "dropped", "failed", "suppressed", "not_considered"]


class _Part(msgspec.Struct, kw_only=True):
    """The base of the parts of an answer: `document` makes JSON of them."""

    def document(self) -> JsonObject:
        """The same as JSON."""
        built: JsonObject = msgspec.to_builtins(self)
        return built


class StepExplanation(_Part):
    """What one filter says about a message for one recipient."""

    filter: str  # its name
    type: str
    verdict: StepVerdict
    reason: Reason  # of a drop or a failure, as it is recorded; `ok`: it passes
    text: str  # "drops: bob is on leave"
    reached: bool  # false behind the first filter that drops


class ConsumerExplanation(_Part):
    """What becomes of a message for one recipient at one consumer."""

    consumer: str
    address: str | None  # none: the consumer's parameters say it
    lane: str | None  # none: there is no delivery
    verdict: ConsumerVerdict
    reason: Reason
    text: str
    rendered: str | None = None  # what the consumer sends; none: not rendered, or there is no delivery


class RecipientExplanation(_Part):
    """Why one person is told, or not."""

    recipient: str | None  # username; none: everyone, in a configuration without users
    verdict: RecipientVerdict  # of the filters
    reason: Reason
    text: str
    steps: list[StepExplanation]
    consumers: list[ConsumerExplanation]  # empty where the filters do not let it pass


class MappingExplanation(_Part):
    """What one mapping set of a message, before the filters saw it."""

    mapping: str | None  # its name; none: another team's
    set: dict[str, str]  # field → value; labels as `labels.NAME`
    text: str  # "The mapping owners set team=infra."


class ConfigurationExplanation(_Part):
    """What one configuration makes of a message."""

    configuration: str
    version: int | None  # none: a draft that is not stored
    verdict: ConfigurationVerdict
    reason: Reason
    text: str
    recipients: list[RecipientExplanation]
    omitted: int = 0  # further recipients, where they are many


class Explanation(_Part):
    """What all configurations make of a message."""

    at: datetime  # the moment of the decision
    text: str
    reason: Reason  # why no configuration considers it; `ok`: see each configuration
    configurations: list[ConfigurationExplanation]
    omitted: int = 0  # further configurations, where they are many
    mappings: list[MappingExplanation] = []  # what was set of the message before, in order
