"""Apprise: reaches services by the URLs of Apprise, a library of a hundred of them.

Each URL is one delivery to its service: it is called on its own, in a process of its own (`consumers.apprise.process`). Where one
fails, the next try calls those again that have not taken the message, as long as the same worker makes it with the same
definition; otherwise all are called again: at least once. What an answer means is the table in `consumers.apprise.answers`.
"""

import re  # for our own constant pattern
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from consumers.apprise.answers import CALL_S, masked, result_of, together
from consumers.apprise.process import START_S, Process
from notifier import Consumer, ConsumerParameters, Context, Delivery, Permanent, Result, Retryable
from notifier.errors import RecordError
from notifier.outcome import Severity
from notifier.plain_text import is_blank, plain_text
from notifier.seal import is_sealed

_SCHEME = re.compile(r"([a-z0-9]+)://\S*", re.ASCII)
# They show something on the screen of the machine that runs them, write its log, or light a lamp on it.
_LOCAL = frozenset(["blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"])
_REMEMBERED = 10_000  # deliveries that some services took
_TYPES: Mapping[Severity | None, str] = {"warning": "warning", "error": "failure", "critical": "failure"}


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
        self._taken: OrderedDict[str, set[int]] = OrderedDict()  # delivery → URLs whose service took it

    def timeout_s(self) -> float:
        """Seconds that the start of the process and calling all URLs may take."""
        return START_S + len(self.parameters.urls) * (CALL_S + 5.0)

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
        title = " ".join(plain_text(rendered.subject).split())
        process = self._open(context)
        taken = self._taken.pop(delivery.id, set())
        results = []
        for number, secret in enumerate(self.parameters.urls):
            url = secret.get_secret_value()
            if number in taken:
                results.append(Result())
                continue
            result = result_of(await process.ask(url, title, body, _TYPES.get(severity, "info")), url)
            if result.outcome == "accepted":
                taken.add(number)
            results.append(result)
        if 0 < len(taken) < len(results):
            self._remember(delivery.id, taken)
        return together(results)

    def _remember(self, id_: str, taken: set[int]) -> None:
        self._taken[id_] = taken
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)

    def _open(self, context: Context) -> Process:
        if self._process is None:
            self._process = Process(context.network.allowed)
        return self._process
