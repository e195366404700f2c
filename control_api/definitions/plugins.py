"""The plugin types that definitions can be of, as lists of REST and GraphQL show them."""

from control_api.page_query import PageQuery, part_of
from notifier.plugin import PluginKind
from notifier.registry import Registry


class PluginQuery(PageQuery):
    """Which plugin types."""

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


def plugin_page(registry: Registry, query: PluginQuery) -> tuple[list[dict[str, object]], str | None]:
    """A page of `plugin_items`. Raises InputError for a cursor that no list answered."""
    return part_of({f"{item['kind']}/{item['type']}": item for item in plugin_items(registry, query.kind)}, query)
