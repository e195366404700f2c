"""REST under `/api/v1`: one file a noun. Each only translates between HTTP and the services."""

from fastapi import APIRouter

from control_api.rest import (
    accounts,
    answers,
    asyncapi,
    attempts,
    audit,
    bulk,
    configurations,
    counters,
    dead_letters,
    definitions,
    deliveries,
    dry_runs,
    explain,
    github_hook,
    history,
    hooks,
    jobs,
    linking,
    messages,
    pausing,
    plugins,
    preview,
    runs,
    schedule,
    schemas,
    send_test,
    status,
    tokens,
    working,
)

ROUTERS: tuple[APIRouter, ...] = (
    messages.router,
    configurations.router,
    schedule.router,
    dry_runs.router,
    explain.router,
    preview.router,
    working.router,
    linking.router,
    pausing.router,
    send_test.router,
    *definitions.ROUTERS,
    *history.ROUTERS,
    bulk.router,
    attempts.router,
    answers.router,
    counters.router,
    dead_letters.router,
    jobs.router,
    deliveries.router,
    runs.router,
    plugins.router,
    schemas.router,
    asyncapi.router,
    status.router,
    tokens.router,
    accounts.router,
    audit.router,
)

HOOKS: tuple[APIRouter, ...] = (hooks.router, github_hook.router)  # at the root: `/hooks/…`

PREFIX = "/api/v1"
