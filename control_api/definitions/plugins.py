"""The plugin types that definitions can be of, as lists of REST and GraphQL show them."""

from pydantic import BaseModel, ConfigDict

from notifier.plugin import PluginKind
from notifier.registry import Registry


class PluginQuery(BaseModel):
    """Which plugin types."""

    model_config = ConfigDict(extra="forbid")

    kind: PluginKind | None = None


def plugin_items(registry: Registry, kind: PluginKind | None = None) -> list[dict[str, object]]:
    """The plugin types by kind and type: `{"kind", "type", "world", "description", "parameters": <JSON Schema>}`."""
    return [
        {
            "kind": plugin.kind,
            "type": plugin.type,
            "world": getattr(plugin, "world", None),  # filters have none
            "description": plugin.describe(),
            "parameters": plugin.Parameters.model_json_schema(),
        }
        for plugin in sorted(registry, key=lambda plugin: (plugin.kind, plugin.type))
        if kind in (None, plugin.kind)
    ]
