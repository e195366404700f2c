"""The plugin API: what a producer, a filter and a consumer are. A plugin author imports `notifier` and nothing else.

A plugin is a class with a `type` (the word in definitions), a `Parameters` model and one method that does the work:
`produce`, `accepts` or `deliver`. Instances are made by the registry from checked parameters, live as long as the
definition stays as it is, and are shared by concurrent calls. Secrets are `SecretStr` fields: they are sealed before they
are stored or published and opened only where the plugin runs.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from inspect import getdoc
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    get_args,
)

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from notifier.delivery import Delivery
from notifier.message import Message
from notifier.outcome import Outcome, Reason
from notifier.record import JsonObject
from notifier.script import Script
from notifier.user import DEFAULT_WORLD, User

if TYPE_CHECKING:
    from notifier.sandbox import Sandbox

PluginKind = Literal["producer", "filter", "consumer"]


class Parameters(BaseModel):
    """The base of every plugin's parameters. Unknown fields are refused; descriptions and examples become docs and forms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, description="What people call it.")


ParametersModel: TypeAlias = type[Parameters]


class WorldParameters(Parameters):
    """Parameters of producers and consumers, which speak to people of some world."""

    world: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        None, description="World that names are looked up in, in place of the type's own."
    )


P = TypeVar("P", bound=Parameters)


@cache
def secret_fields(parameters: type[BaseModel]) -> frozenset[str]:
    """The fields of a parameters model that hold secrets: `SecretStr`, or a list or mapping of them."""
    return frozenset(name for name, field in parameters.model_fields.items() if _holds_secret(field.annotation))


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


def nested_secrets(parameters: type[BaseModel]) -> frozenset[str]:
    """The fields whose values are models that hold secrets; the registry refuses them, since only whole fields are sealed."""
    return frozenset(
        name
        for name, field in parameters.model_fields.items()
        if any(secret_fields(model) for model in _models(field.annotation, set()))
    )


def _models(annotation: Any, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """`seen` and every model that values of the annotation may hold, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            for field in annotation.model_fields.values():
                _models(field.annotation, seen)
    else:
        for part in get_args(annotation):
            _models(part, seen)
    return seen


async def _default_text(delivery: Delivery) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a running producer or consumer is given of the world around it."""

    name: str  # of the definition that the plugin serves
    sandbox: "Sandbox"  # runs scripts
    script: Callable[[str], Script]  # the script of that name; raises UnknownName
    services: Mapping[str, str] = field(default_factory=dict)  # base URLs of outside services: telegram, vk, github
    # The text that the configuration's template makes of a delivery; None: the consumer's default text. Never raises: a
    # template that fails is None too, and the attempt says so.
    text: Callable[[Delivery], Awaitable[str | None]] = _default_text


def secrets_in(values: Iterable[Any]) -> Iterator[str]:
    """The secrets among some values, also within lists and mappings."""
    for value in values:
        if isinstance(value, SecretStr):
            if secret := value.get_secret_value():
                yield secret
        elif isinstance(value, dict):
            yield from secrets_in(value.values())
        elif isinstance(value, list | tuple):
            yield from secrets_in(value)


class Plugin(Generic[P]):
    """What producers, filters and consumers have in common. Derive from those, not from this."""

    kind: ClassVar[PluginKind]
    type: ClassVar[str]  # the word in definitions
    Parameters: ClassVar[ParametersModel]

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    @classmethod
    def describe(cls) -> str:
        """What the type does: the first paragraph of its docstring."""
        return (getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")

    def mask(self, text: str) -> str:
        """The text with every secret of the parameters replaced by `***`: for whatever a plugin says or raises."""
        for secret in sorted(secrets_in(self.parameters.__dict__.values()), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    async def close(self) -> None:
        """Called once when the definition changes or the process stops: give back connections and the like."""


class Producer(Plugin[P]):
    """Makes messages.

    A pull producer implements `produce`; the runner calls it once for each run of a configuration, outside any Kafka
    agent, with a time limit. A type whose messages come by themselves (REST, hooks, Kafka) sets `pull = False`.
    """

    kind = "producer"
    world: ClassVar[str] = DEFAULT_WORLD  # where its senders and receivers live
    pull: ClassVar[bool] = True

    def world_of(self) -> str:
        """The world of its names: the parameter `world`, else the type's own."""
        return getattr(self.parameters, "world", None) or self.world

    def timeout_s(self) -> float:
        """Seconds that one call of `produce` may take before it is cancelled."""
        return float(getattr(self.parameters, "timeout_s", 60.0)) + 5.0

    async def produce(self, context: Context) -> Iterable[JsonObject]:
        """The messages of this run as JSON objects with the fields of Message, all but `producer` and `configuration`.

        An `id` is the source's own and makes the same thing recognisable within a run; without one its position is used.
        Any exception fails this producer within the run and no other.
        """
        raise NotImplementedError(f"{self.type} does not pull")

    async def check(self, context: Context) -> None:
        """Tries the parameters against the real service without changing anything there, before they are saved.

        Asked for by `?verify=true`, with a limit of 15 seconds. Raises InputError that names the field, Permanent or
        Retryable; the text is the service's own and holds no secret.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One message for one recipient of one configuration: what a filter judges."""

    message: Message
    users: frozenset[str]  # usernames of the configuration
    at: datetime  # the moment of the decision; in a dry run the record's time
    sender: User | None = None  # none: not a known user
    receiver: User | None = None  # none: the message is for everyone and the configuration has no users


class FilterParameters(Parameters):
    """The base of every filter's parameters."""

    negate: bool = Field(False, description="Let pass what would be dropped, and drop what would pass.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup:
    """A filter's rule where it is no more than a look at one field: it accepts what has one of `values` there.

    | field | what is looked up | where there is none |
    |---|---|---|
    | `receiver` | the receiver's username | None |
    | `severity` | the severity | None |
    | `sender` | the sender as the message names it, and the username of the user that is, case-folded | None |
    | `labels.<name>` | the label's value | the empty text, as a missing label equals it |

    Of a sender either of the two may be among the values.
    """

    field: str
    values: frozenset[str | None]


F = TypeVar("F", bound=FilterParameters)


class Filter(Plugin[F]):
    """Lets a message pass or drops it; never edits it, keeps no state, does not wait for anything.

    `accepts` is the rule, and all that a filter must have. It must be fast and must not raise: what raises drops nothing and
    is logged. The router asks it for every message that the filters before it let pass. A filter whose rule is simpler than
    that may say so, and then costs less, down to nothing for the messages of others:

    - `lookup`: the rule is a look at one field. The router puts it into its index and asks nobody.
    - `test`: the message alone decides. The router asks that function, once for each message and configuration.
    - `holds_until`: receiver and time alone decide. The router asks again only when the answer may have changed.

    Whatever is said must decide exactly as `accepts`; `negate` is the router's to apply.
    """

    kind = "filter"
    reason: ClassVar[Reason] = "filtered"  # recorded for what it drops

    def passes(self, candidate: Candidate) -> bool:
        """`accepts`, turned round by `negate`."""
        return bool(self.accepts(candidate)) is not self.parameters.negate

    def accepts(self, candidate: Candidate) -> bool:
        """Whether the message may pass."""
        raise NotImplementedError

    def lookup(self, users: frozenset[str]) -> Lookup | None:
        """Its rule as a look at one field, for a configuration with these users; None where it is more than that.

        Only for filters that drop with the reason `filtered`. Asked once when a configuration is compiled.
        """
        return None

    def test(self) -> Callable[[Message], bool] | None:
        """Its rule as a function of the message alone; None where it needs more of the candidate. Asked once, as above.

        Where there are thousands of filters of a type, `functools.partial(function, what it needs)` with one function for all
        costs least: the function is then in the processor's cache, and a closure of each filter is not.
        """
        return None

    def holds_until(self, candidate: Candidate) -> datetime | None:
        """Where receiver and time alone decide: until when at least the answer for this receiver stays as it is.

        None where it depends on something else. A moment that is too early only costs another question.
        """
        return None

    def reason_for(self, candidate: Candidate) -> Reason:
        """Why it dropped this candidate, for the record; asked only about what it dropped. By default `reason`."""
        return self.reason

    def clause(self) -> str:
        """What it lets pass, in words that complete "passes when …", without `negate`."""
        raise NotImplementedError

    def finding(self, candidate: Candidate) -> str:
        """What it sees in this candidate, in words that complete "passes: …" or "drops: …"; by default its rule."""
        return f"the rule is {'not ' if self.parameters.negate else ''}({self.clause()})"

    def says(self, candidate: Candidate) -> str:
        """Why it decides as it does about this candidate, in one plain sentence: "drops: the content contains 'wip'"."""
        return f"{'passes' if self.passes(candidate) else 'drops'}: {self.finding(candidate)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of one delivery that was handed to a consumer."""

    outcome: Outcome = "accepted"
    reason: Reason = "ok"
    detail: str | None = None  # for people; never a secret
    retry_after_s: float | None = None  # seconds, where the service said so


ACCEPTED = Result()


class ConsumerParameters(WorldParameters):
    """The base of every consumer's parameters."""

    partitions: int = Field(1, ge=1, le=100, description="Partitions of its topic when that is created.")


C = TypeVar("C", bound=ConsumerParameters)


class Consumer(Plugin[C]):
    """Delivers messages to people.

    The delivery worker calls `deliver` with at most `batch` deliveries of one lane, in order, one call at a time for each
    lane, and again with the same deliveries after a crash: at least once. It answers one Result for each, or raises
    Retryable or Permanent for all of them; anything else that is raised counts as Retryable.
    """

    kind = "consumer"
    world: ClassVar[str] = DEFAULT_WORLD  # that it writes to

    def world_of(self) -> str:
        """The world of its names: the parameter `world`, else the type's own."""
        return self.parameters.world or self.world

    def batch(self) -> int:
        """How many deliveries `deliver` takes at most."""
        return 1

    def timeout_s(self) -> float:
        """Seconds that one call of `deliver` may take before it is cancelled and counts as `unknown`."""
        return float(getattr(self.parameters, "timeout_s", 30.0)) + 5.0

    def fixed_address(self) -> bool:
        """Whether its parameters say where it delivers (a group chat, a webhook, a script): then it has one lane."""
        return True

    def address(self, user: User) -> str | None:
        """How it reaches a user; None where it cannot. A consumer with a fixed address needs the name only."""
        return user.name_in(self.world_of())

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Delivers, in order; answers a Result for each."""
        raise NotImplementedError

    async def check(self, context: Context) -> None:
        """Tries the parameters against the real service without sending anything; raises Permanent or Retryable."""
