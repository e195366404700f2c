"""Labels: keep messages whose labels match, in Alertmanager's matcher syntax (`notifier.label_matcher`)."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from filters.texts import a_list_of
from filters.wording import quoted
from notifier.label_matcher import MatcherText, read_matchers
from notifier.message import Message
from notifier.plugin import Candidate, Filter, FilterParameters, Lookup


class LabelsParameters(FilterParameters):
    """Parameters of `labels`."""

    matchers: Annotated[
        tuple[MatcherText, ...], Field(max_length=100, json_schema_extra={"minItems": 1}), a_list_of("matcher")
    ] = Field(
        description="What the labels must be, all of it, in Alertmanager's syntax: team=infra, team!=infra,"
        ' team=~"infra|web", team!~"test.*". A missing label is empty; an expression (RE2) must match the whole value.',
        examples=[["team=~infra.*", 'status="firing"']],
    )


class Labels(Filter[LabelsParameters]):
    """Lets a message pass only when its labels match all matchers, which are written as for Alertmanager."""

    type = "labels"
    Parameters = LabelsParameters

    def __init__(self, parameters: LabelsParameters) -> None:
        super().__init__(parameters)
        self.matchers = tuple(matcher for text in parameters.matchers for matcher in read_matchers(text))

    def accepts(self, candidate: Candidate) -> bool:
        labels = candidate.message.labels
        return all(matcher.matches(labels) for matcher in self.matchers)

    def lookup(self, users: frozenset[str]) -> Lookup | None:
        if len(self.matchers) != 1 or self.matchers[0].operator != "=":
            return None
        (matcher,) = self.matchers
        return Lookup(field=f"labels.{matcher.name}", values=frozenset([matcher.value]))

    def test(self) -> Callable[[Message], bool]:
        matchers = self.matchers
        return lambda message: all(matcher.matches(message.labels) for matcher in matchers)

    def clause(self) -> str:
        return f"the labels match {', '.join(map(str, self.matchers))}"

    def finding(self, candidate: Candidate) -> str:
        labels = candidate.message.labels
        for matcher in self.matchers:
            if not matcher.matches(labels):
                value = quoted(labels[matcher.name]) if matcher.name in labels else "missing"
                return f"the label {quoted(matcher.name)} is {value}, which does not match {matcher}"
        return f"the labels match {', '.join(map(str, self.matchers))}"
