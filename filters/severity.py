"""Severity: drop messages below a severity."""

from pydantic import Field

from notifier.outcome import SEVERITIES, Severity
from notifier.plugin import Candidate, Filter, FilterParameters, Lookup

DEFAULT: Severity = "info"  # of a message without severity


class SeverityParameters(FilterParameters):
    """Parameters of `severity`."""

    at_least: Severity = Field(
        description=f"The least severity that passes, of {', '.join(SEVERITIES)}."
        f" A message without severity counts as {DEFAULT}.",
        examples=["warning"],
    )


class SeverityFilter(Filter[SeverityParameters]):
    """Drops messages below a severity; one without severity counts as `info`."""

    type = "severity"
    Parameters = SeverityParameters

    def __init__(self, parameters: SeverityParameters) -> None:
        super().__init__(parameters)
        self.accepted = frozenset(SEVERITIES[SEVERITIES.index(parameters.at_least) :])

    def accepts(self, candidate: Candidate) -> bool:
        return (candidate.message.severity or DEFAULT) in self.accepted

    def lookup(self, users: frozenset[str]) -> Lookup:
        values: frozenset[str | None] = self.accepted
        return Lookup(field="severity", values=values | {None} if DEFAULT in self.accepted else values)

    def clause(self) -> str:
        return f"the severity is at least {self.parameters.at_least}"

    def finding(self, candidate: Candidate) -> str:
        given = candidate.message.severity
        severity = f"the severity is {given}" if given else f"the message has no severity and counts as {DEFAULT}"
        return f"{severity}, {'at least' if self.accepts(candidate) else 'below'} {self.parameters.at_least}"
