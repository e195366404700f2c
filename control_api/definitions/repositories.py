"""Repositories: whether a webhook for a GitHub producer is about what that is about, its repository under another name too."""

from collections.abc import Mapping
from typing import Any

from notifier.network import Network
from notifier.plugin import Context
from notifier.registry import Registry
from notifier.sandbox import Level, Sandbox
from notifier.script import Script
from notifier.seal import Seal
from producers.github import GitHub, Renames, Repository, refusal_of_organization


class Repositories:
    """Knows which repositories the names in GitHub producers lead to. `addresses`: as `Context.services`."""

    def __init__(
        self, registry: Registry, seal: Seal, addresses: Mapping[str, str], network: Network | None = None
    ) -> None:
        self._registry = registry
        self._seal = seal
        self._addresses = addresses
        self._network = network or Network()
        self._renames = Renames()

    async def refusal(self, producer: str, parameters: Mapping[str, Any], payload: Mapping[str, Any]) -> str | None:
        """Why a webhook is not about the producer's repository or organization, in words; None: it is."""
        organization = parameters.get("organization")
        if organization is not None:
            return refusal_of_organization(producer, str(organization), payload)

        async def ask() -> Repository | None:
            plugin = self._registry.build("producer", producer, GitHub.type, parameters, self._seal)
            assert isinstance(plugin, GitHub)
            return await plugin.repository(self._context(producer))

        return await self._renames.refusal(producer, str(parameters["repository"]), payload, ask)

    def _context(self, producer: str) -> Context:
        def script(name: str) -> Script:
            raise AssertionError(f"it asks for the script {name}")

        sandbox = Sandbox(level=Level.none, explanation="scripts do not run in the control API")
        return Context(name=producer, sandbox=sandbox, script=script, services=self._addresses, network=self._network)
