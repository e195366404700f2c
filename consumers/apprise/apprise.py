"""Apprise: reaches services by the URLs of Apprise, a library of a hundred of them.

Each URL is one delivery to its service: it is called on its own, in a process of its own (`consumers.apprise.process`), with the
text in as many parts as the service needs. Where one fails, the next try goes on with what has not been taken, as long as the
same worker makes it with the same definition and the same text; otherwise all are called again: at least once. What an answer
means is the table in `consumers.apprise.answers`.
"""

import asyncio
import re  # for our own constant pattern
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from consumers.apprise.answers import CALL_S, masked, result_of, together
from consumers.apprise.process import START_S, Process
from consumers.text.splitting import split_marked
from notifier import Consumer, ConsumerParameters, Context, Delivery, Marked, Permanent, Result, Retryable
from notifier.errors import RecordError
from notifier.one_line import one_line
from notifier.outcome import Severity
from notifier.plain_text import is_blank, plain_text
from notifier.seal import is_sealed

_SCHEME = re.compile(r"([a-z0-9]+)://\S*", re.ASCII)
# They show something on the screen of the machine that runs them, write its log, or light a lamp on it.
_LOCAL = frozenset(["blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"])
_REMEMBERED = 10_000  # deliveries that some services took
MAX_TITLE = 250  # characters; where a service has no titles, it stands above the text
_SHORT = 4000  # characters of a text that is cut at once
_SHORTEST = 64  # characters of a part, below which nobody could read them
_TYPES: Mapping[Severity | None, str] = {"warning": "warning", "error": "failure", "critical": "failure"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Message:
    title: str
    body: str
    kind: str  # as Apprise calls it


def _check_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if is_sealed(text):  # as the router sees it, which has no key
        return url
    found = _SCHEME.fullmatch(text) if text.isprintable() else None
    if found is None:
        raise ValueError("is no URL of Apprise, such as ntfy://ntfy.sh/topic")
    if found[1] in _LOCAL:
        raise ValueError(f"{found[1]}:// reaches nobody but the machine that Notifier runs on")
    return url


class AppriseParameters(ConsumerParameters):
    """Parameters of an Apprise consumer."""

    urls: tuple[Annotated[SecretStr, Field(max_length=4000), AfterValidator(_check_url)], ...] = Field(
        description="URLs of Apprise, each of a service that gets all messages.",
        min_length=1,
        max_length=20,
        examples=[["ntfy://ntfy.sh/alerts"]],
    )


class Apprise(Consumer[AppriseParameters]):
    """Sends messages to services that Apprise knows, by their URLs, in a process that reaches nothing else."""

    type = "apprise"
    Parameters = AppriseParameters

    def __init__(self, parameters: AppriseParameters) -> None:
        super().__init__(parameters)
        self._process: Process | None = None
        # delivery → hash of its text, the URLs and parts that were taken
        self._taken: OrderedDict[str, tuple[int, set[tuple[int, int]]]] = OrderedDict()

    def timeout_s(self) -> float:
        """Seconds that the start of the process and calling all URLs may take."""
        return START_S + len(self.parameters.urls) * 2 * CALL_S

    def mask(self, text: str) -> str:
        """The text without the URLs and the pieces of them."""
        for url in self.parameters.urls:
            text = masked(text, url.get_secret_value())
        return text

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Calls each URL for each delivery. Raises Retryable where no process can be started."""
        return [await self._deliver(delivery, context) for delivery in deliveries]

    async def check(self, context: Context) -> None:
        """Asks Apprise whether it knows the URLs. Calls no service. Raises Permanent or Retryable."""
        for number, url in enumerate(self.parameters.urls, 1):
            answer = await self._open(context).ask(url.get_secret_value())
            if answer.get("error") == "unknown_url":
                raise Permanent(
                    "invalid_content", f"Apprise does not know URL {number}: {self.mask(str(answer.get('log')))}"
                )
            if answer.get("error") is not None:
                raise Retryable("server_error", f"Apprise does not answer: {answer.get('log')}")

    async def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            await process.close()

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        try:
            rendered = await context.rendered(delivery)
            severity = delivery.read_message().severity
        except RecordError as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        body = plain_text(rendered.body.plain())
        if is_blank(body):
            return Result(outcome="refused", reason="invalid_content", detail="the text is empty")
        title = one_line(rendered.subject, MAX_TITLE)
        message = _Message(title=title, body=body, kind=_TYPES.get(severity, "info"))
        process = self._open(context)
        key = hash(message)
        before, taken = self._taken.pop(delivery.id, (key, set()))
        if before != key:
            taken = set()  # the text has changed, with its template
        results: list[Result] = []
        try:
            for number, secret in enumerate(self.parameters.urls):
                results.append(await _call(process, secret.get_secret_value(), number, message, taken))
        finally:
            if len(results) < len(self.parameters.urls) or together(results).outcome != "accepted":
                self._remember(delivery.id, key, taken)
        return together(results)

    def _remember(self, id_: str, key: int, taken: set[tuple[int, int]]) -> None:
        if taken:
            self._taken[id_] = key, taken
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)

    def _open(self, context: Context) -> Process:
        if self._process is None:
            self._process = Process(context.network.allowed)
        return self._process


async def _call(process: Process, url: str, number: int, message: _Message, taken: set[tuple[int, int]]) -> Result:
    """Sends the parts for one URL that are not `taken`, up to the first that fails; adds those that are."""
    limit = await process.limit(url)
    parts = None
    if limit >= _SHORTEST:
        cut = partial(split_marked, Marked(message.body), limit)
        # Cutting a long text takes so long that all else would wait.
        parts = cut() if len(message.body) <= _SHORT else await asyncio.to_thread(cut)
    # What does not fit into our parts is split by Apprise, which cuts where it comes to.
    texts = [message.body] if parts is None else [part.text for part in parts]
    for place, text in enumerate(texts):
        if (number, place) in taken:
            continue
        answer = await process.ask(url, message.title if place == 0 else "", text, message.kind)
        result = result_of(answer, url)
        if result.outcome != "accepted":
            return result
        taken.add((number, place))
    return Result()
