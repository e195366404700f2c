"""QuickPush: the way of `POST /messages` past FastAPI, which is ten times as many calls as pushing one message itself.

The route in `control_api.rest.messages` stands for it in the description, and its function does the work here too. Who may call
it and what an error becomes is asked of the same functions as everywhere. What FastAPI's own layers would do, `Guard` does.
"""

from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from control_api.http.auth import caller
from control_api.http.problems import KNOWN, problem_of
from control_api.parts import parts_of
from control_api.rest.messages import post_messages

PATH = "/api/v1/messages"


def is_push(scope: Scope) -> bool:
    """Whether the request goes this way."""
    return bool(scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST")


class QuickPush:
    """The ASGI app of that one address."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        request = Request(scope, receive)
        try:
            parts = await parts_of(request)
            response = await post_messages(request, parts, await caller(request, parts, "push"))
        except KNOWN as error:
            response = problem_of(error).response()
        await response(scope, receive, send)
