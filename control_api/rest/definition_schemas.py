"""The JSON Schemas of definitions as documents, for the components of OpenAPI."""

from typing import Any

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import models_json_schema

from control_api.definitions.spec import name_field
from notifier.definition import SPECS, Name, Username
from notifier.record import JsonObject

PROBLEM = "problem"  # what running roles find wrong with a definition


def _schemas() -> dict[str, Any]:
    """`User` and the like, and `UserReplacement` and the like, in which the name is not required."""
    models: list[type[BaseModel]] = []
    for kind, spec in SPECS.items():
        text = Field(description="Its name; it cannot be changed.")
        fields: dict[str, Any] = {name_field(kind): (Username if kind == "user" else Name, text)}
        models.append(create_model(kind.capitalize(), __base__=spec, __doc__=spec.__doc__, **fields))
    _, schema = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = schema["$defs"]
    for kind in SPECS:
        whole = found[kind.capitalize()]
        whole["properties"][PROBLEM] = {
            "type": "string",
            "readOnly": True,
            "description": "Why a running role cannot use it; absent where all can. Ignored when written.",
        }
        required = [field for field in whole["required"] if field != name_field(kind)]
        found[f"{kind.capitalize()}Replacement"] = {**whole, "required": required}
    return found


SCHEMAS = _schemas()


def ref(name: str) -> JsonObject:
    """A reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}
