"""Context: what a plugin under trial gets as the world around it."""

from notifier.errors import UnknownName
from notifier.network import Network
from notifier.plugin import Context
from notifier.record import JsonObject
from notifier.sandbox import Level, Sandbox
from notifier.script import Script


def context_for(name: str, *, cursor: JsonObject | None = None, **services: str) -> Context:
    """The context of a plugin that runs no script and may call services on loopback.

    `services` are base URLs, and `cursor` is what a producer has kept.
    """

    def script(asked: str) -> Script:
        raise UnknownName("script", asked)

    return Context(
        name=name,
        sandbox=Sandbox(level=Level.none, explanation="no scripts here"),
        script=script,
        services=services,
        network=Network(allowed=["127.0.0.0/8", "::1"]),
        cursor=cursor,
    )
