"""What plugins are called with: a context with one script or none, and deliveries as the router makes them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from consumers.text.texts import default_rendered
from notifier import Context, Delivery, Rendered
from notifier.errors import UnknownName
from notifier.network import Network
from notifier.sandbox import Level, Sandbox
from notifier.script import Executor, Script


def context_without_scripts(name: str, **services: str) -> Context:
    """The context of a plugin that runs no script; `services` are the base URLs of outside services."""

    def script(asked: str) -> Script:
        raise AssertionError(f"it asks for the script {asked}")

    return Context(
        name=name,
        sandbox=Sandbox(level=Level.none, explanation="no scripts here"),
        script=script,
        services=services,
        rendered=rendered_by_default,
        network=Network(allowed=["127.0.0.0/8"]),
    )


async def rendered_by_default(delivery: Delivery) -> Rendered:
    """The default text."""
    return default_rendered(delivery)


def context_with_script(name: str, sandbox: Sandbox, content: str, executor: Executor = "bash") -> Context:
    """A context that knows one script, `work`, with that content."""
    stored = Script(name="work", executor=executor, content=content)

    def script(asked: str) -> Script:
        if asked != stored.name:
            raise UnknownName("script", asked, [stored.name])
        return stored

    return Context(name=name, sandbox=sandbox, script=script)


def make_delivery(
    content: str = "build failed",
    *,
    number: int = 1,
    consumer: str = "chat",
    message: Mapping[str, Any] | bytes | None = None,
    **fields: Any,
) -> Delivery:
    """A delivery from octocat to alice, called `al`. `message` is more of the message, or all of it as bytes."""
    if not isinstance(message, bytes):
        message = msgspec.json.encode({"producer": "ci", "content": content, **(message or {})})
    given: dict[str, Any] = {"recipient": "alice", "receiver": "al", "sender": "octocat", **fields}
    return Delivery(
        id=f"ci/{number}/all/{consumer}/alice",
        configuration="all",
        configuration_version=3,
        consumer=consumer,
        lane=consumer,
        message=msgspec.Raw(message),
        message_id=str(number),
        **given,
    )
