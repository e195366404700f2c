"""Words: the sentences of an explanation. They say what was decided, and nothing that is not known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from filters.chain import Verdict
from notifier.outcome import Reason
from notifier.user import User

NAMED = 5  # people, configurations or consumers in one sentence
_PREFIXES = ("drops: ", "passes: ", "fails: ")  # of what filters say


@dataclass(frozen=True, kw_only=True)
class Words:
    """How an explanation speaks: of what was decided, or of what would be."""

    past: bool
    at: datetime
    leaves: Mapping[str, datetime] = field(default_factory=dict)  # username → since when on leave, where that is known

    def got_not(self, who: str | None) -> str:
        """`bob did not get it`, or `nobody got it`."""
        if who is None:
            return "nobody got it" if self.past else "nobody would get it"
        return f"{who} did not get it" if self.past else f"{who} would not get it"

    def passed_on(self, configuration: str, consumers: Sequence[str], people: Sequence[str]) -> str:
        """`builds passed it on to chat for alice and bob`."""
        verb = "passed it on" if self.past else "would pass it on"
        whom = f" for {listed(people)}" if people else ""
        return f"{configuration} {verb} to {listed(consumers)}{whom}"

    def dropped(self, configuration: str, verdict: Verdict, recipient: User | None) -> str:
        """`builds dropped it, because at-work says that bob is on leave since Monday`."""
        verb = "dropped" if self.past else "would drop"
        finding = without_prefix(verdict.says)
        if finding.startswith("the filter cannot say why"):
            return f"{configuration} {verb} it by {verdict.filter}, which cannot say why"
        return f"{configuration} {verb} it, because {verdict.filter} says that {finding}{self.since(verdict.reason, recipient)}"

    def failed(self, configuration: str, failure: str, for_whom: str | None) -> str:
        """`builds could not judge it for bob: the filter odd failed: …`."""
        end = "so it became a dead letter" if self.past else "so it would become a dead letter"
        return f"{configuration} could not judge it{f' for {for_whom}' if for_whom else ''}, {end}: {failure}"

    def since(self, reason: Reason, recipient: User | None) -> str:
        """` since Monday`, where somebody is on leave and it is known since when."""
        began = None if recipient is None or reason != "on_leave" else self.leaves.get(recipient.username)
        if recipient is None or began is None:
            return ""
        zone = ZoneInfo(recipient.working_time.timezone if recipient.working_time else "UTC")
        day, today = began.astimezone(zone), self.at.astimezone(zone)
        days = (today.date() - day.date()).days
        if days < 0:
            return ""
        if days == 0:
            return f" since {day:%H:%M}"
        return f" since {day:%A}" if days < 7 else f" since {day.day} {day:%B %Y}"


def without_prefix(says: str) -> str:
    """What a filter finds, without whether that makes it pass or drop."""
    for prefix in _PREFIXES:
        says = says.removeprefix(prefix)
    return says


def sentence(text: str) -> str:
    """The text with a full stop. It begins as it is, with a name; only `nobody` is none."""
    text = "N" + text[1:] if text.startswith("nobody ") else text
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def listed(names: Sequence[str]) -> str:
    """`alice, bob and carol`; after five, how many more there are."""
    shown = list(names[:NAMED])
    if len(names) > NAMED:
        shown.append(f"{len(names) - NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def in_sentences(texts: Sequence[str], beside: int = 0) -> str:
    """The first texts as sentences, and how many more there are: `beside` that are not given."""
    unique = list(dict.fromkeys(map(sentence, texts)))
    more = max(0, len(unique) - NAMED) + beside
    return " ".join([*unique[:NAMED], *([f"And {more} more."] if more else [])])
