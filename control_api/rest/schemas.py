"""`GET /schemas`: the JSON Schemas of the records on the topics, and of YAML files."""

from functools import cache, lru_cache
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from control_api.definitions.yaml_schema import definitions_schema
from control_api.http.auth import ReadActor
from control_api.http.media_type import JSON
from control_api.http.page import Page, json_response, page
from control_api.http.problems import documented
from control_api.page_query import PageQuery, part_of
from control_api.parts import PartsDep
from notifier.answer import Answer
from notifier.attempt import Attempt, Counters
from notifier.dead_letter import DeadLetter
from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.errors import UnknownName
from notifier.message import Message
from notifier.record import Record
from notifier.run import Run
from notifier.status import Status
from notifier.tick import Tick
from notifier.wish import Wish

router = APIRouter(prefix="/schemas", tags=["schemas"])
_of_files = lru_cache(maxsize=1)(definitions_schema)  # making the models of all plugins takes long

RECORDS: tuple[type[Record], ...] = (
    Message,
    Tick,
    Run,
    Definition,
    Delivery,
    Attempt,
    Counters,
    DeadLetter,
    Answer,
    Status,
    Wish,
)


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """The schema of each record by its name; each stands by itself."""
    return {
        record.__name__: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": record.__name__,
            **msgspec.json.schema(record),
        }
        for record in RECORDS
    }


@router.get("", summary="List the schemas of all records", response_model=Page, responses=documented(401, 403, 422))
async def list_schemas(query: Annotated[PageQuery, Query()], actor: ReadActor) -> Response:
    """`{"name", "schema": <JSON Schema>}` of each record, by name. Readers pass over fields they do not know."""
    return page(*part_of({name: {"name": name, "schema": schema} for name, schema in schemas().items()}, query))


@router.get(
    "/definitions",
    summary="Get the schema of YAML files",
    response_class=Response,
    responses={
        200: {"description": "JSON Schema.", "content": {JSON: {"schema": {"type": "object"}}}},
        **documented(401, 403),
    },
)
async def get_definitions_schema(parts: PartsDep, actor: ReadActor) -> Response:
    """What `notifier apply` reads, with the parameters of each plugin type that is installed; `notifier schema` prints it."""
    return json_response(_of_files(parts.registry))


@router.get(
    "/{name}",
    summary="Get the schema of a record",
    response_class=Response,
    responses={
        200: {"description": "JSON Schema.", "content": {JSON: {"schema": {"type": "object"}}}},
        **documented(401, 403, 404),
    },
)
async def get_schema(name: str, actor: ReadActor) -> Response:
    """The JSON Schema itself."""
    if name not in schemas():
        raise UnknownName("record", name, list(schemas()))
    return json_response(schemas()[name])
