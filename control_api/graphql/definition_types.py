"""The GraphQL types of definitions, made from the models of YAML and REST, and the relations between them.

A field of a model is a field of both the answered type and the input, in camelCase. Where a model holds names of other
definitions, the answered type holds the definitions and the input the names.
"""

import types
from dataclasses import dataclass
from datetime import time
from inspect import getdoc
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import graphene  # type: ignore[import-untyped]  # graphene has no types
from pydantic import AwareDatetime, BaseModel

from control_api.definitions.spec import name_field
from control_api.graphql.context import GraphQLContext, Resolver, guarded
from control_api.graphql.judged import judged_fields
from control_api.graphql.scalars import Json
from notifier.definition import SPECS
from notifier.group import group_named
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject

REFERRED: tuple[Kind, ...] = (
    "user",
    "group",
    "producer",
    "filter",
    "consumer",
)  # the kinds that a configuration refers to
_REFERENCES: dict[Kind, str] = {"user": "Who may be told, by name.", "group": "Whose members may be told."}
SCRIPTED: tuple[Kind, ...] = ("producer", "consumer")  # the kinds whose `parameters` may name a script
TEMPLATED: tuple[Kind, ...] = (
    "configuration",
    "consumer",
    "template",
)  # the kinds whose texts may include a named template

_SCALARS: dict[Any, Any] = {str: graphene.String, time: graphene.String, bool: graphene.Boolean, int: graphene.Int}
_SCALARS |= {float: graphene.Float, AwareDatetime: graphene.String}
_KNOWN: dict[str, tuple[Any, str]] = {
    "revision": (graphene.Int, "Number of the change that wrote it."),
    "etag": (graphene.String, "Its version, for `ifMatch`; the ETag of REST."),
    "created_at": (graphene.String, "RFC 3339."),
    "updated_at": (graphene.String, "RFC 3339."),
}


@dataclass(frozen=True, kw_only=True)
class KindTypes:
    """The types of one kind."""

    shown: Any  # a definition in answers
    page: Any  # a page of definitions
    written: Any  # the input of mutations


def kind_types() -> dict[Kind, KindTypes]:
    """The types of all kinds, made together because they refer to each other."""
    made: dict[Kind, KindTypes] = {}
    nested: dict[tuple[str, bool], Any] = {}
    for kind in KINDS:
        word, spec = kind.capitalize(), SPECS[kind]
        name = name_field(kind)
        fields = {
            name: graphene.String(required=True, description="Its name."),
            **_fields(spec, nested, as_input=False),
            **{field: type_(required=True, description=text) for field, (type_, text) in _KNOWN.items()},
            "problem": graphene.String(
                resolver=guarded("read", _problem_of(kind)),
                description="Why a running role cannot use it; null where all can.",
            ),
            **judged_fields(kind),
            **_relations(kind, made),
        }
        shown = object_type(word, getdoc(spec) or word, fields)
        written = _input_type(
            f"{word}Input",
            f"A {kind} as it is written. Of a change, only what is given; null goes back to the default.",
            {name: graphene.String(description="Its name."), **_fields(spec, nested, as_input=True)},
        )
        page = page_type(f"{word}Page", shown, "By name.")
        made[kind] = KindTypes(shown=shown, page=page, written=written)
    return made


def object_type(name: str, description: str, fields: dict[str, Any]) -> Any:
    """An object type whose values are mappings."""
    return type(name, (graphene.ObjectType,), {"__doc__": description, **fields})


def page_type(name: str, item: Any, order: str) -> Any:
    """The type of a page: `{items, nextCursor}`."""
    fields = {
        "items": graphene.List(graphene.NonNull(item), required=True, description=order),
        "next_cursor": graphene.String(description="Ask with it for the next page; null: this is the last."),
    }
    return object_type(name, "A part of a list.", fields)


def _input_type(name: str, description: str, fields: dict[str, Any]) -> Any:
    return type(name, (graphene.InputObjectType,), {"__doc__": description, **fields})


def _fields(model: type[BaseModel], nested: dict[tuple[str, bool], Any], *, as_input: bool) -> dict[str, Any]:
    wrap = graphene.InputField if as_input else graphene.Field
    return {
        name: wrap(_type(field.annotation, nested, as_input), description=field.description)
        for name, field in model.model_fields.items()
    }


def _type(annotation: Any, nested: dict[tuple[str, bool], Any], as_input: bool) -> Any:
    # Required fields and closed vocabularies are the model's to check, so that REST, YAML and GraphQL give the same errors.
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], nested, as_input)
    if origin in (Union, types.UnionType):
        parts = [part for part in arguments if part is not type(None)]
        return _type(parts[0], nested, as_input) if len(parts) == 1 else Json
    if origin in (tuple, list):
        return graphene.List(graphene.NonNull(_type(arguments[0], nested, as_input)))
    if origin is Literal and all(isinstance(word, str) for word in arguments):
        return graphene.String
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        key = annotation.__name__.removesuffix("Spec"), as_input
        if key not in nested:
            fields = _fields(annotation, nested, as_input=as_input)
            text = getdoc(annotation) or key[0]
            nested[key] = _input_type(f"{key[0]}Input", text, fields) if as_input else object_type(key[0], text, fields)
        return nested[key]
    return _SCALARS.get(annotation, Json)


def _relations(kind: Kind, made: dict[Kind, KindTypes]) -> dict[str, Any]:
    def many(other: Kind, resolve: Resolver, description: str) -> Any:
        return graphene.List(
            lambda: graphene.NonNull(made[other].shown), resolver=guarded("read", resolve), description=description
        )

    relations: dict[str, Any] = {}
    if kind == "configuration":
        for other in REFERRED:
            text = _REFERENCES.get(other) or str(SPECS[kind].model_fields[f"{other}s"].description)
            relations[f"{other}s"] = many(other, _named(other, "users" if other == "group" else f"{other}s"), text)
    if kind == "group":
        relations["members"] = many("user", _named("user", "members"), "Who belongs to it.")
    if kind == "user":
        relations["groups"] = many("group", _referring("group", kind), "Groups that it belongs to.")
    if kind == "mapping":
        relations["producers"] = many("producer", _named("producer", "producers"), "Whose messages; none: everyone's.")
    if kind == "producer":
        relations["mappings"] = many("mapping", _referring("mapping", kind), "Mappings that name it.")
    if kind in REFERRED:
        text = "Configurations that name it."
        relations["configurations"] = many("configuration", _referring("configuration", kind), text)
    if kind == "template":
        for other in TEMPLATED:
            text = f"{other.capitalize()}s that include it."
            relations[f"{other}s"] = many(other, _referring(other, kind), text)
    if kind == "script":
        for other in SCRIPTED:
            relations[f"{other}s"] = many(other, _referring(other, kind), f"{other.capitalize()}s that run it.")
    if kind in SCRIPTED:
        relations["script"] = graphene.Field(
            lambda: made["script"].shown, resolver=guarded("read", _script), description="The script that it runs."
        )
    return relations


def _problem_of(kind: Kind) -> Resolver:
    async def resolve(root: JsonObject, context: GraphQLContext) -> str | None:
        return context.parts.statuses.problem(kind, root["_name"])

    return resolve


def _named(other: Kind, field: str) -> Resolver:
    async def resolve(root: JsonObject, context: GraphQLContext) -> list[JsonObject]:
        names: list[str] = root.get(field) or []
        if other in ("user", "group"):  # both stand in one list
            groups = [(name, group_named(name)) for name in names]
            names = [group or name for name, group in groups if (group is not None) == (other == "group")]
        return await context.named(other, names)

    return resolve


def _referring(other: Kind, kind: Kind) -> Resolver:
    async def resolve(root: JsonObject, context: GraphQLContext) -> list[JsonObject]:
        return await context.referring(other, kind, root["_name"])

    return resolve


async def _script(root: JsonObject, context: GraphQLContext) -> JsonObject | None:
    name = (root.get("parameters") or {}).get("script")
    found = await context.named("script", [name] if isinstance(name, str) else [])
    return found[0] if found else None
