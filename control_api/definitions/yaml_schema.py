"""The JSON Schema of YAML files, with which editors complete them: kinds, their fields, and parameters by plugin type.

What it accepts may still be refused (references, names of zones, texts of templates); what it refuses is refused, but for truths
and numbers that are written as text. A required secret may be left out, since what is stored is kept; null stands for every field
that need not be there.
"""

from typing import Any, cast

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import models_json_schema

from control_api.definitions.documents import EXTENSION, TESTS, WITH_FILE
from control_api.definitions.secret_parameters import SET
from control_api.definitions.spec import name_field
from filters.decision import PROBLEMS
from notifier.definition import SPECS, Name, PluginSpec, Username
from notifier.outcome import KINDS, Kind
from notifier.plugin import Plugin, PluginKind, secret_fields
from notifier.record import JsonObject
from notifier.registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/"
_TEXT: JsonObject = {"type": "string"}
_TESTS: JsonObject = {
    "type": ["array", "null"],
    "description": "What must become of a message; `notifier test` tries it.",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "description": "What the test shows, in words."},
            "message": {"type": "object", "description": "The message, as a producer would write it."},
            "at": {"type": ["string", "null"], "format": "date-time", "description": "The moment of the decision."},
            "configuration": {"type": ["string", "null"], "description": "What this configuration alone makes of it."},
            "expect": {
                "anyOf": [
                    {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"recipient": {"type": ["string", "null"]}, "consumer": _TEXT},
                            "required": ["consumer"],
                            "additionalProperties": False,
                        },
                    },
                    {
                        "type": "object",
                        "properties": {"dropped_by": _TEXT},
                        "required": ["dropped_by"],
                        "additionalProperties": False,
                    },
                    {
                        "type": "object",
                        "properties": {"reason": {"enum": list(PROBLEMS)}},
                        "required": ["reason"],
                        "additionalProperties": False,
                    },
                ]
            },
        },
        "required": ["name", "message", "expect"],
        "additionalProperties": False,
    },
}
_KEPT: JsonObject = {"type": "object", "properties": {"set": {"const": SET["set"]}}, "required": ["set"]}


def definitions_schema(registry: Registry) -> JsonObject:
    """The schema of a file, with the plugin types of the registry."""
    found = _kinds()
    for kind in KINDS:
        if issubclass(SPECS[kind], PluginSpec):
            types = sorted((plugin for plugin in registry if plugin.kind == kind), key=lambda plugin: plugin.type)
            _take_types(found, cast("PluginKind", kind), types)
    for kind in WITH_FILE:
        written = found[kind.capitalize()]
        written["properties"]["file"] = {
            "type": "string", "minLength": 1,
            "description": "In place of `content`: a file in the folder of this one, or below it.",
        }  # fmt: skip
        written["required"] = ["name"]
        written["oneOf"] = [{"required": ["content"]}, {"required": ["file"]}]
    table = found["MappingTableSpec"]
    table["properties"]["file"] = {
        "type": "string", "minLength": 1,
        "description": "In place of `rows`: a CSV or YAML file in the folder of this one, or below it.",
    }  # fmt: skip
    table["required"] = []
    table["oneOf"] = [{"required": ["key", "rows"]}, {"required": ["file"]}]
    return {
        "$schema": DIALECT,
        "title": "Definitions of Notifier",
        "description": "What `notifier apply` reads.",
        "type": "object",
        "properties": {**{f"{kind}s": _section(kind) for kind in KINDS}, TESTS: _TESTS},
        "patternProperties": {f"^{EXTENSION}": {}},
        "additionalProperties": False,
        "$defs": found,
    }


def _section(kind: Kind) -> JsonObject:
    return {"type": ["array", "null"], "items": {"$ref": _REF + kind.capitalize()}}


def _kinds() -> JsonObject:
    models: list[type[BaseModel]] = []
    for kind, spec in SPECS.items():
        fields: dict[str, Any] = {
            name_field(kind): (Username if kind == "user" else Name, Field(description="Its name."))
        }
        models.append(create_model(kind.capitalize(), __base__=spec, __doc__=spec.__doc__, **fields))
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template=_REF + "{model}")
    found: JsonObject = schema["$defs"]
    for part in found.values():
        _allow_null(part)
    return found


def _take_types(found: JsonObject, kind: PluginKind, types: list[type[Plugin[Any]]]) -> None:
    """Has the type of a definition say which parameters it may have."""
    shape = found[kind.capitalize()]
    known: list[JsonObject] = [{"const": plugin.type, "description": plugin.describe()} for plugin in types]
    shape["properties"]["type"] = {"description": "Name of the plugin type.", "anyOf": known or [{"not": {}}]}
    shape["properties"]["parameters"] = {"type": ["object", "null"]}
    cases = []
    for plugin in types:
        key = f"{kind}.{plugin.type}"
        found |= _parameters(plugin, key)
        then: JsonObject = {"properties": {"parameters": {"anyOf": [{"$ref": _REF + key}, {"type": "null"}]}}}
        if found[key].get("required") or found[key].get("anyOf"):  # this, or one of those
            then = {"properties": {"parameters": {"$ref": _REF + key}}, "required": ["parameters"]}
        cases.append({"if": {"properties": {"type": {"const": plugin.type}}, "required": ["type"]}, "then": then})
    if cases:
        shape["allOf"] = cases


def _parameters(plugin: type[Plugin[Any]], key: str) -> JsonObject:
    """The schema of a type's parameters, under `key`, and of the models in them."""
    schema = plugin.Parameters.model_json_schema(ref_template=f"{_REF}{key}.{{model}}")
    below = {f"{key}.{name}": part for name, part in schema.pop("$defs", {}).items()}
    for part in (schema, *below.values()):
        _allow_null(part)
    secrets = secret_fields(plugin.Parameters)
    for name in secrets & schema["properties"].keys():
        words = {word: text for word in ("title", "description") if (text := schema["properties"][name].get(word))}
        schema["properties"][name] = {**words, "anyOf": [schema["properties"][name], _KEPT, {"type": "null"}]}
    schema["required"] = [name for name in schema.get("required", ()) if name not in secrets]
    return {key: schema, **below}


def _allow_null(schema: JsonObject) -> None:
    """Null in place of a field that need not be there is the same as no field (`notifier.absent`)."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        if name not in required and not _is_nullable(field):
            words = {word: field.pop(word) for word in ("title", "description", "default", "examples") if word in field}
            schema["properties"][name] = {**words, "anyOf": [field, {"type": "null"}]}


def _is_nullable(field: JsonObject) -> bool:
    return field == {} or field.get("type") == "null" or any(map(_is_nullable, field.get("anyOf", ())))
