"""Operation: one route that each kind of definitions has, with its description for OpenAPI.

The table of all operations is in `control_api.rest.definitions`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from control_api.http.problems import documented
from notifier.outcome import Kind
from notifier.record import JsonObject

CHECKED: tuple[Kind, ...] = ("producer", "consumer")  # kinds whose plugins can try themselves against a service


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation on each kind. Texts name the kind as `{kind}`, `{Kind}` (its model) and `{kinds}`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Literal["", "/{name}", "/{name}/history", "/{name}/rollback"]  # after the kind's own
    endpoint: Callable[..., Any]  # a method of the routes' class
    scope: Literal["read", "write"]  # changes of scripts need `admin` instead
    status: int = 200
    summary: str
    description: str
    secrets: str = ""  # more of the description, for kinds with secrets
    more: str = ""  # the end of the description
    answers: Mapping[str, Any] | None = None  # the description of `status` in OpenAPI; none: FastAPI's own
    takes: Mapping[str, Any] | None = None  # schemas of the body by media type
    example: Callable[[Kind], JsonObject] | None = None  # of the body
    parameters: tuple[JsonObject, ...] = ()  # headers
    problems: tuple[int, ...]

    def describe(self, kind: Kind) -> dict[str, Any]:
        """The arguments of `add_api_route` that document the operation."""
        extra: dict[str, Any] = {"parameters": list(self.parameters)} if self.parameters else {}
        if self.takes is not None:
            example = self.example(kind) if self.example is not None else None
            content = {name: {"schema": schema, "example": example} for name, schema in self.takes.items()}
            extra["requestBody"] = {"required": True, "content": content}
        text = self.description + (self.secrets if kind in CHECKED else "") + self.more
        answers: dict[int | str, Any] = {} if self.answers is None else {self.status: _of_kind(self.answers, kind)}
        return {
            "summary": _of_kind(self.summary, kind),
            "description": _of_kind(text, kind),
            "responses": {**answers, **documented(*self.problems)},
            "openapi_extra": _of_kind(extra, kind),
        }


def _of_kind(value: Any, kind: Kind) -> Any:
    """The value with the kind's words in its texts, however deep."""
    if isinstance(value, str):
        return value.replace("{kind}", kind).replace("{Kind}", kind.capitalize()).replace("{kinds}", f"{kind}s")
    if isinstance(value, Mapping):
        return {key: _of_kind(part, kind) for key, part in value.items()}
    if isinstance(value, list):
        return [_of_kind(part, kind) for part in value]
    return value
