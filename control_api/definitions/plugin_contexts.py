"""PluginContexts: what a plugin may reach while the control API asks it. No scripts run here."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from notifier.errors import UnknownName
from notifier.kafka import own_servers
from notifier.network import Network
from notifier.plugin import Context, Plugin
from notifier.sandbox import Level, Sandbox
from notifier.script import Script
from notifier.settings import Settings
from notifier.topics import is_own

logger = logging.getLogger(__name__)

_CLOSE_S = 3.0


def _none(name: str) -> Script:
    raise UnknownName("script", name)


@dataclass(frozen=True, kw_only=True)
class PluginContexts:
    """Makes contexts for plugins of one installation."""

    settings: Settings
    network: Network

    def context(self, name: str, script: Callable[[str], Script] = _none, **more: Any) -> Context:
        """The context of a definition; `more` are further fields of it."""
        settings = self.settings
        return Context(
            name=name,
            sandbox=Sandbox(level=Level.none, explanation="scripts do not run in the control API"),
            script=script,
            services=settings.services,
            network=self.network,
            files=settings.files,
            own_topic=partial(is_own, prefix=settings.topic_prefix),
            own_servers=own_servers(settings),
            **more,
        )


async def close_plugin(plugin: Plugin[Any]) -> None:
    """Closes a plugin that the API asked. Does not raise, and does not wait for ever."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await plugin.close()
    except Exception:  # a plugin's own code, and nothing depends on its end
        logger.exception("A plugin of type %s did not close.", plugin.type, extra={"action": "close_plugin"})
