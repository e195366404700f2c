"""`GET /plugins`: what producers, filters and consumers there can be."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.parts import PartsDep
from notifier.plugin import PluginKind
from notifier.registry import Registry

router = APIRouter(prefix="/plugins", tags=["plugins"])


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


@router.get("", summary="List plugin types", response_model=Page, responses=documented(401, 403, 422))
async def list_plugins(query: Annotated[PluginQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """The types of producers, filters and consumers, with the JSON Schemas of their parameters. Always one page."""
    return page(plugin_items(parts.registry, query.kind))
