"""`GET /plugins`: what producers, filters and consumers there can be."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_api.definitions.plugins import PluginQuery, plugin_page
from control_api.http.auth import ReadActor
from control_api.http.page import Page, page
from control_api.http.problems import documented
from control_api.parts import PartsDep

router = APIRouter(prefix="/plugins", tags=["plugins"])


@router.get("", summary="List plugin types", response_model=Page, responses=documented(401, 403, 422))
async def list_plugins(query: Annotated[PluginQuery, Query()], parts: PartsDep, actor: ReadActor) -> Response:
    """The types of producers, filters and consumers, with the JSON Schemas of their parameters, by kind and type."""
    return page(*plugin_page(parts.registry, query))
