"""An API in which two teams, and nobody, own one definition of each kind; and callers of every scope, role and team."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import insert

from control_api.access import tokens
from control_api.access.accounts import account_of
from control_api.access.actor import COMMAND_LINE, ROLES, SCOPES, Scope
from control_api.access.sessions import COOKIE, open_session
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.definitions.spec import name_field
from control_api.history.rows import attempt_row, dead_letter_row, run_row
from control_api.migrate import upgrade_database
from control_api.models import AccountRow, AttemptRow, CounterRow, DeadLetterRow, RunRow
from control_api.registry import load_registry
from notifier.database import Database
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject, now
from notifier.run import Run
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.history_rig import attempt, dead_letter, store_messages

TEAMS = ("red", "blue", None)
WRITTEN: Mapping[Kind, JsonObject] = {
    "user": {},
    "group": {},
    "script": {"content": "true"},
    "template": {"content": "x"},
    "producer": {"type": "push"},
    "mapping": {"producers": ["common"], "set": {"severity": "error"}},
    "filter": {"type": "severity", "parameters": {"at_least": "error"}},
    "consumer": {"type": "script", "parameters": {"script": "common"}},
    "configuration": {},
}


def name_of(team: str | None) -> str:
    """The name of a team's definition of each kind."""
    return team or "common"


@dataclass(frozen=True)
class Caller:
    """A token of one scope, or a signed-in account."""

    name: str
    scopes: frozenset[Scope]
    team: str | None
    headers: Mapping[str, str]

    def may(self, scope: Scope) -> bool:
        """Whether it has the scope."""
        return scope in self.scopes or "admin" in self.scopes

    def is_kept_out(self, owner: str | None) -> bool:
        """Whether a definition of that team is another team's."""
        return self.team is not None and owner not in (None, self.team)


@dataclass(frozen=True)
class Teams:
    """The API, and who calls it."""

    app: Any
    callers: tuple[Caller, ...]
    services: Services
    strict: bool

    def client(self, caller: Caller) -> httpx.AsyncClient:
        """A client that calls as that caller."""
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://api", headers=dict(caller.headers))

    def one(self, name: str) -> Caller:
        """The caller of that name, for instance `write red` or `viewer -`."""
        return next(caller for caller in self.callers if caller.name == name)

    def some(self) -> Iterator[Caller]:
        """A few callers, one of each sort."""
        names = ("read red", "write red", "admin red", "admin -", "push red", "viewer blue", "editor -")
        return (one for one in self.callers if one.name in names)


@asynccontextmanager
async def teams_served(settings: Settings) -> AsyncIterator[Teams]:
    """The API under the rule of the settings."""
    registry = load_registry()
    database = Database(settings)
    try:
        await upgrade_database(database)
        services = Services(database, registry, load_seal(settings))
        for kind in KINDS:
            for team in reversed(TEAMS):
                written = {name_field(kind): name_of(team), "team": team, **WRITTEN[kind]}
                await services.create(COMMAND_LINE, kind, written)
        await _fill_history(database)
        callers = [*[one async for one in _tokens(settings)], *[one async for one in _accounts(database)]]
        app = create_app(settings, registry=registry)
        async with app.router.lifespan_context(app):
            yield Teams(app, tuple(callers), services, settings.teams == "strict")
    finally:
        await database.close()


async def _tokens(settings: Settings) -> AsyncIterator[Caller]:
    for team in TEAMS:
        for scope in SCOPES:
            name = f"{scope} {team or '-'}"
            text = await tokens.create_token(settings, name=name, scopes=[scope], team=team)
            yield Caller(name, frozenset([scope]), team, {"Authorization": f"Bearer {text}"})


async def _accounts(database: Database) -> AsyncIterator[Caller]:
    for team in TEAMS:
        for role, scopes in ROLES.items():
            row = AccountRow(
                name=f"{role}-{team or 'none'}",
                password_hash="",
                role=role,
                team=team,
                created_at=now(),
                updated_at=now(),
            )
            async with database.write() as session:
                session.add(row)
                account = account_of(row)
            ticket = await open_session(database, account)
            headers = {"Cookie": f"{COOKIE}={ticket}", "Origin": "http://api"}
            yield Caller(f"{role} {team or '-'}", scopes, team, headers)


async def _fill_history(database: Database) -> None:
    """What concerns the configuration of each team; and, of each team's producer, what concerns none, and a message."""
    names = [name_of(team) for team in TEAMS]
    rows: dict[Any, list[Mapping[str, Any]]] = {AttemptRow: [], DeadLetterRow: [], RunRow: []}
    for offset, team in enumerate(TEAMS):
        name, place = name_of(team), {"partition": 0, "offset": 2 * offset}
        behind = {"partition": 0, "offset": 2 * offset + 1}
        one = attempt("1", producer=name, configuration=name, delivery=f"{name}/1/{name}/chat/alice")
        none = attempt("2", producer=name, configuration=None, delivery=f"{name}/2")
        rows[AttemptRow] += [
            {**(attempt_row(one)), **place},
            {**(attempt_row(none)), **behind},
        ]
        letter = dead_letter(f"{name}/1/{name}/chat/alice", delivery=f"{name}/1/{name}/chat/alice")
        lost = dead_letter(f"{name}/2", producer=name, message="2", stage="route")
        rows[DeadLetterRow] += [
            {**(dead_letter_row(letter.encode()) or {}), **place},
            {**(dead_letter_row(lost.encode()) or {}), **behind},
        ]
        run = Run(configuration=name, scheduled_at=now(), trigger="cron", state="done", started_at=now())
        rows[RunRow].append(run_row(run.encode()) or {})
    async with database.write() as session:
        for table, some in rows.items():
            await session.execute(insert(table), some)
        minute = int(now().timestamp()) // 60
        counts = [
            CounterRow(minute=minute, configuration=name, outcome="accepted", reason="ok", count=1) for name in names
        ]
        session.add_all(counts)
    await store_messages(database, [{"producer": name, "id": "1", "content": f"word {name}"} for name in names])
