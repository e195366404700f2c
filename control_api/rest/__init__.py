"""REST under `/api/v1`: one file a noun. Each only translates between HTTP and the functions beside `control_api.app`."""

from fastapi import APIRouter

from control_api.rest import attempts, configurations, dead_letters, messages, plugins, runs, schemas, tokens

ROUTERS: tuple[APIRouter, ...] = (
    messages.router,
    configurations.router,
    attempts.router,
    dead_letters.router,
    runs.router,
    plugins.router,
    schemas.router,
    tokens.router,
)

PREFIX = "/api/v1"
