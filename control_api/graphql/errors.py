"""Errors as GraphQL answers them.

Invalid input of a mutation is data, in the payload's `errors`: `{"field", "messages", "pointer"}`. Every other error is in the
answer's own `errors`, with `extensions`: a `code`, REST's `status`, and with INVALID_INPUT the `errors` of REST.
"""

import logging
from collections.abc import Iterable
from typing import Any

from graphql import GraphQLError, Node

from control_api.http.problems import problem_of
from notifier.errors import FieldError
from notifier.pointer import pointer_parts
from notifier.record import JsonObject

logger = logging.getLogger(__name__)

BAD_REQUEST = "BAD_REQUEST"  # no GraphQL, or no match for the schema
TOO_COMPLEX = "TOO_COMPLEX"  # more than `control_api.graphql.limits` allows
CODES = {
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    412: "STALE_VERSION",
    413: "TOO_LARGE",
    422: "INVALID_INPUT",
    503: "UNAVAILABLE",
}
INTERNAL = "INTERNAL"  # any other status; the log has the cause under the answer's X-Request-Id


def too_complex(text: str, node: Node | None = None) -> GraphQLError:
    """The error of a query beyond a limit."""
    return GraphQLError(text, node, extensions={"code": TOO_COMPLEX})


def shown_error(error: GraphQLError) -> JsonObject:
    """The error as the answer has it. An unexpected one is logged here, and its text is not answered."""
    body: JsonObject = dict(error.formatted)
    if _is_graphqls(error):
        return {**body, "extensions": {"code": BAD_REQUEST, "status": 400, **(error.extensions or {})}}
    cause = _cause(error)
    problem = problem_of(cause)
    extensions: JsonObject = {"code": CODES.get(problem.status, INTERNAL), "status": problem.status}
    if problem.errors:
        extensions["errors"] = [{"pointer": part.pointer, "detail": part.detail} for part in problem.errors]
    if "Retry-After" in problem.headers:
        extensions["retryAfter"] = int(problem.headers["Retry-After"])  # in seconds
    if problem.status == 500:
        logger.error("A field of GraphQL failed.", exc_info=cause, extra={"action": "resolve"})
    return {**body, "message": problem.detail, "extensions": extensions}


def payload_errors(errors: Iterable[FieldError]) -> list[JsonObject]:
    """The errors of a payload, one a field."""
    by_pointer: dict[str, JsonObject] = {}
    for error in errors:
        found = by_pointer.setdefault(
            error.pointer, {"field": _field(error.pointer), "messages": [], "pointer": error.pointer}
        )
        found["messages"].append(error.detail)
    return list(by_pointer.values())


def _field(pointer: str) -> str:
    """`/working_time/start` → `workingTime.start`; names within JSON (`parameters`, `additional_info`) stay as they are."""
    if pointer == "":  # the input as a whole
        return ""
    first, *rest = pointer_parts(pointer)
    words = [first, *rest] if first == "parameters" else [camel(first), *rest]
    return ".".join(words if first in ("parameters", "additional_info") else [camel(word) for word in words])


def camel(word: str) -> str:
    """`working_time` → `workingTime`."""
    first, *rest = word.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _is_graphqls(error: GraphQLError) -> bool:
    return isinstance(_cause(error), GraphQLError)


def _cause(error: GraphQLError) -> Exception:
    cause: Any = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause  # type: ignore[no-any-return]  # graphql-core does not say what it is
