"""Errors as pages: what a browser gets at an address of the console where programs get a problem detail."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from control_api.console.view import framed
from control_api.http.accept import is_browser
from control_api.http.auth import ToSignIn
from control_api.http.problems import KNOWN, problem_of


async def _answer(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if not isinstance(problem, ToSignIn) and _is_page(request):
        answer = framed(
            request,
            "error.html",
            status=problem.status,
            view=None,
            code=problem.status,
            heading=HTTPStatus(problem.status).phrase,
            detail=problem.detail,
        )
        answer.headers.update(problem.headers)
        return answer
    if request.url.path == "/" and is_browser(request) and request.method in ("GET", "HEAD"):
        return RedirectResponse("/console", 303)
    return problem.response()


def _is_page(request: Request) -> bool:
    return request.url.path.startswith("/console/") and is_browser(request)


def install(app: FastAPI) -> None:
    """Makes every known error of the app a page for browsers at the console's addresses, and a problem elsewhere."""
    for kind in KNOWN:
        app.add_exception_handler(kind, _answer)
