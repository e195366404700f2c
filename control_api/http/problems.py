"""Problems: every error answer of the API, as RFC 9457 problem details (`application/problem+json`).

    {"type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "…",
     "errors": [{"pointer": "/3/producer", "detail": "…"}]}

Services raise the errors of `notifier.errors`, and `problem_of` maps each to a status. Any other error is a 500 that tells the
caller the request's id only; the log has the rest.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from notifier.errors import (
    BrokerError,
    Conflict,
    DatabaseError,
    FieldError,
    Forbidden,
    InputError,
    NotifierError,
    RecordError,
    RecordTooLarge,
    ScriptError,
    StaleVersion,
    UnknownName,
)
from notifier.pointer import pointer
from notifier.validation import in_words

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5  # advice of a 503; brokers and databases that restart are back in seconds

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "default": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what to do next."},
        "errors": {
            "type": "array",
            "description": "With status 422: each field that is wrong.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON Pointer into the request; a query parameter's name after `/`.",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


class Problem(Exception):
    """An error answer with its own status, for what no error of `notifier.errors` means."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, tuple(errors), dict(headers or {})

    def response(self) -> Response:
        """The HTTP response."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": error.pointer, "detail": error.detail} for error in self.errors]
        # A detail may quote the request; `default` keeps an answer possible for what is no JSON.
        return Response(orjson.dumps(body, default=str), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def unauthorized(detail: str) -> Problem:
    """401, with the challenge that RFC 6750 asks for."""
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="notifier"'})


def unavailable(detail: str, retry_after_s: int = RETRY_AFTER_S) -> Problem:
    """503, with `Retry-After`."""
    return Problem(503, detail, headers={"Retry-After": str(retry_after_s)})


def problem_of(error: Exception) -> Problem:
    """The problem that an error is to a caller."""
    match error:
        case Problem():
            return error
        case InputError():
            return Problem(422, str(error), errors=error.errors)
        case RecordTooLarge():
            return Problem(413, str(error))
        case RecordError() | ScriptError():
            return Problem(422, str(error), errors=[FieldError("", str(error))])
        case UnknownName():
            return Problem(404, str(error))
        case Forbidden():
            return Problem(403, str(error))
        case StaleVersion():
            return Problem(412, str(error))
        case Conflict():
            return Problem(409, str(error))
        case BrokerError() | DatabaseError():
            return unavailable(str(error))
        case NotifierError():
            return Problem(500, str(error))
        case HTTPException():
            return Problem(error.status_code, _http_detail(error), headers=error.headers)
        case RequestValidationError():
            return _of_validation(error)
        case _:
            return Problem(500, "something is wrong on our side; the log has it under this answer's X-Request-Id")


def _http_detail(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "there is nothing at this address; GET /openapi.json lists what there is"
        case 405:
            allowed = (error.headers or {}).get("Allow") or (error.headers or {}).get("allow")
            return "this address does not take that method" + (f"; it takes {allowed}" if allowed else "")
        case _:
            return str(error.detail)


def _of_validation(error: RequestValidationError) -> Problem:
    errors = [
        FieldError(
            pointer(found["loc"][1:]),
            "is not a parameter here" if found["type"] == "extra_forbidden" else in_words(found),
        )
        for found in error.errors()
    ]
    return Problem(422, "; ".join(str(part) for part in errors), errors=errors)


KNOWN = (Problem, NotifierError, HTTPException, RequestValidationError)  # `control_api.http.guard` answers any other


async def _answer(request: Request, error: Exception) -> Response:
    return problem_of(error).response()


def install(app: FastAPI) -> None:
    """Makes every known error of the app a problem."""
    for kind in KNOWN:
        app.add_exception_handler(kind, _answer)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route in OpenAPI: these problems, and those that every route may answer."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, 400, 500, 503})  # 400: an address that holds NUL
    }
