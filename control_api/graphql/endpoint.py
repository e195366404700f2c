"""`/graphql`: GraphQL over HTTP. POST `application/json`, GET for queries; one request at a time, no batches.

The caller needs a token of any scope or a session; each field checks its own scope. A request without token, without JSON or
of another method is answered with a problem, as by REST. All others are answered as the specification of GraphQL over HTTP
has it: status 200 where something was executed, else 400, or 200 for a client that accepts only `application/json` or `*/*`, as
old clients do. A browser gets GraphiQL, once somebody has signed in.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from graphql import ExecutionResult, GraphQLError, OperationType, execute, get_operation_ast
from pydantic import BaseModel, ConfigDict, ValidationError

from control_api.console.pages import EDITOR, page
from control_api.graphql.context import GraphQLContext, open_context
from control_api.graphql.errors import shown_error
from control_api.graphql.limits import check_document, read_document
from control_api.graphql.schema import build_schema
from control_api.http import idempotency
from control_api.http.accept import HTML, preferred
from control_api.http.auth import AnyActor, PageActor
from control_api.http.body import parse_json, read_body
from control_api.http.media_type import JSON
from control_api.http.problems import Problem
from control_api.intake.occasion import Occasion
from control_api.parts import PartsDep
from notifier.errors import FieldError, InputError
from notifier.record import JsonObject, now
from notifier.validation import field_errors

RESPONSE = "application/graphql-response+json"
PATH = "/graphql"

router = APIRouter(include_in_schema=False)  # OpenAPI cannot describe it; introspection does


class GraphqlRequest(BaseModel):
    """A request, as a JSON body or as query parameters. What many clients send for an absent field is one: null and `""`."""

    model_config = ConfigDict(extra="forbid")

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None
    extensions: dict[str, Any] | None = None  # accepted and ignored


@router.post(PATH)
async def post(request: Request, parts: PartsDep, actor: AnyActor) -> Response:
    """Queries and mutations."""
    media_type = _answered(request)
    _, body = await read_body(request, JSON)
    value = parse_json(body)
    if isinstance(value, list):
        raise InputError(FieldError("", "must be one request; there are no batches here"))
    asked = _read(value)

    async def act(occasion: Occasion) -> Response:
        async with open_context(parts, actor, occasion) as context:
            answer = await _execute(asked, context, mutations=True)
        response = _response(answer, media_type)
        status = _undone(answer)
        if status is not None:
            raise _UndoneError(status, response)
        return response

    try:
        return await idempotency.once(parts, request, actor, body, act)
    except _UndoneError as error:
        return error.answer


@router.get(PATH)
async def get(request: Request, parts: PartsDep, actor: PageActor) -> Response:
    """Queries; `variables` and `extensions` are JSON. Browsers get GraphiQL, with the query of the address."""
    if preferred(request, (JSON, RESPONSE, HTML)) == HTML:
        return page("graphiql.html", policy=EDITOR)
    media_type = _answered(request)
    asked = _read(
        {
            name: parse_json(value.encode(), f"the parameter `{name}`")
            if name in ("variables", "extensions")
            else value
            for name, value in request.query_params.items()
            if value or name == "query"
        }
    )
    async with open_context(parts, actor, Occasion(now())) as context:
        return _response(await _execute(asked, context, mutations=False), media_type)


class _UndoneError(Problem):
    """Carries an answer past `idempotency.once` without being kept: the same request may succeed later."""

    def __init__(self, status: int, answer: Response) -> None:
        super().__init__(status, "undone")
        self.answer = answer


def _undone(answer: JsonObject) -> int | None:
    """The status of an answer without any result or with a failure of ours; None for an answer to be kept."""
    statuses = [error["extensions"]["status"] for error in answer.get("errors", ())]
    if not statuses:
        return None
    worst: int = max(statuses)
    nothing = all(value is None for value in (answer.get("data") or {}).values())
    return worst if nothing or worst >= 500 else None


def _answered(request: Request) -> str:
    """The media type of the answer, by `Accept`. Raises Problem 406."""
    media_type = preferred(request, (JSON, RESPONSE))
    if media_type is not None:
        return media_type
    raise Problem(406, f"answers here are {RESPONSE} or {JSON}")


def _read(value: object) -> GraphqlRequest:
    if not isinstance(value, dict):
        raise InputError(FieldError("", 'must be a JSON object: {"query": "{ users { items { username } } }"}'))
    extensions = value.get("extensions")
    if value.get("query") is None and isinstance(extensions, dict) and "persistedQuery" in extensions:
        value = {**value, "query": ""}  # Apollo's client sends the query once it is told that its sum is not enough
    try:
        return GraphqlRequest.model_validate(value)
    except ValidationError as error:
        raise InputError(field_errors(error, value)) from None


async def _execute(asked: GraphqlRequest, context: GraphQLContext, *, mutations: bool) -> JsonObject:
    """`{"data", "errors"}`; without `data` where nothing was executed. Raises Problem 405 for a mutation by GET."""
    schema = build_schema()
    if not asked.query and "persistedQuery" in (asked.extensions or {}):
        return _refused(
            [GraphQLError("PersistedQueryNotSupported", extensions={"code": "PERSISTED_QUERY_NOT_SUPPORTED"})]
        )
    name = asked.operationName or None
    try:
        document = read_document(asked.query)
    except GraphQLError as error:
        return _refused([error])
    wrong = check_document(schema, document)
    if wrong:
        return _refused(wrong)
    operation = get_operation_ast(document, name)
    if operation is None:
        return _refused([GraphQLError("`operationName` must name one of the operations in the query")])
    if operation.operation is not OperationType.QUERY and not mutations:
        raise Problem(405, "only queries can be asked by GET; POST it", headers={"Allow": "POST"})
    result = execute(
        schema,
        document,
        context_value=context,
        variable_values=asked.variables,
        operation_name=name,
        hide_suggestions=True,
    )
    if not isinstance(result, ExecutionResult):
        result = await result
    if result.data is None:  # variables that do not fit: nothing was executed, since every root field may be null
        return _refused(result.errors or [])
    answer: JsonObject = {"data": result.data}
    if result.errors:
        answer["errors"] = [shown_error(error) for error in result.errors]
    return answer


def _refused(errors: Sequence[GraphQLError]) -> JsonObject:
    return {"errors": [shown_error(error) for error in errors]}


def _response(answer: JsonObject, media_type: str) -> Response:
    status = 200 if "data" in answer or media_type == JSON else 400
    return Response(orjson.dumps(answer), status, media_type=media_type)
