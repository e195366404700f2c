"""Context: a running plugin's access to scripts, services and templates."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from notifier.allowed_files import AllowedFiles
from notifier.delivery import Delivery
from notifier.errors import InvalidRecord, TemplateFailed
from notifier.record import JsonObject
from notifier.rendered import Rendered, content_of
from notifier.script import Script

if TYPE_CHECKING:
    from notifier.network import Network
    from notifier.sandbox import Sandbox, Usage


async def _default_text(delivery: Delivery) -> str | None:
    return None


async def _no_templates(template: str, delivery: Delivery) -> str:
    raise TemplateFailed("no templates are rendered here")


def _any_topic(topic: str) -> bool:
    return True  # who is not told better takes every topic for its own


def _public_alone() -> "Network":
    from notifier.network import Network  # aiohttp takes long to import, and most commands need none

    return Network()


async def _no_limit() -> None:
    return


def _no_ticket(delivery: Delivery) -> str | None:
    return None


def _not_kept(state: JsonObject) -> None:
    return


def _any_name(name: str) -> bool:
    return True


def _not_told(notice: str) -> None:
    return


def _not_measured(usage: "Usage") -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Context:
    """A running producer's or consumer's access to the world around it."""

    name: str  # of the definition that the plugin serves
    sandbox: "Sandbox"  # runs scripts
    script: Callable[[str], Script]  # the script of that name; raises UnknownName
    services: Mapping[str, str] = field(default_factory=dict)  # base URLs of outside services, such as telegram and vk
    # The text that a template makes of a delivery, without marks; None: there is none, or it fails, which the attempt says.
    # Older than `rendered`, which is to be used instead.
    text: Callable[[Delivery], Awaitable[str | None]] = _default_text
    # What a delivery says: by the template of the configuration, else of the consumer, else the default text, in the recipient's
    # language and zone. Raises RecordError where the message cannot be read; a template that fails gives the default text.
    rendered: Callable[[Delivery], Awaitable[Rendered]] = content_of
    # The text that a template of the parameters makes of a delivery. Raises TemplateFailed.
    render: Callable[[str, Delivery], Awaitable[str]] = _no_templates
    own_topic: Callable[[str], bool] = _any_topic  # whether that topic is one of the installation's own
    own_servers: str | None = None  # the brokers of the installation's own cluster, `host:port,…`; None: not known
    network: "Network" = field(default_factory=_public_alone)  # the way to addresses that the parameters name
    files: AllowedFiles = field(default_factory=AllowedFiles)  # the files of this machine that the parameters may name
    # Waits until another send of this call is within the consumer's `limits`; the first one is when the call begins. The wait
    # does not count for its time limit.
    permit: Callable[[], Awaitable[None]] = _no_limit
    # At most 32 letters, digits and dots by which `Hearing.delivery` finds a delivery of this call for as long as its topic
    # keeps it; None: it cannot be found.
    ticket: Callable[[Delivery], str | None] = _no_ticket
    due: datetime | None = None  # when the run was due; None: no run asks
    # Writes items of this run while the producer goes on, in the form and order in which `produce` gives them; they stay whatever
    # becomes of the run. Done again, a run has to give the same items first. None: what is found is to be returned.
    emit: Callable[[Sequence[JsonObject | InvalidRecord]], Awaitable[None]] | None = None
    measured: Callable[["Usage"], None] = _not_measured  # takes what a script of this run has used
    # What the producer has told in this configuration, as it last handed to `keep`; None: nothing yet, or no run asks.
    cursor: JsonObject | None = None
    # Replaces the cursor once the messages of this call are written; the last one of a call counts. Runs of one configuration ask
    # a producer one after another, so each sees the cursor of the one before.
    keep: Callable[[JsonObject], None] = _not_kept
    # One line for people about the source, such as its new name; shown on `status` until a call ends without it.
    notice: Callable[[str], None] = _not_told
    # Whether a name of the producer's world belongs to a user or a group; true where that is not known.
    knows: Callable[[str], bool] = _any_name
