"""DryRuns: begins dry runs, follows them, and answers what they have found. REST, GraphQL and tests call this.

    begin ─► row `running` ─► child process (`control_api.dry_run.child`) ─► its reports, in the row
    cancel ─► row `cancelled` ─► the API process that started the child kills it

The row has the whole state, so each API process answers for every dry run. A process that dies takes its children with it. Its
rows get no heartbeat any more, and the next reader marks them `failed`.
"""

import asyncio
import logging
import re
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_api.access.actor import Actor
from control_api.access.teams import Hidden, hidden_from
from control_api.definitions.changes import lock
from control_api.definitions.services import Services
from control_api.dry_run.child import Line, Order, lines, passed_on
from control_api.dry_run.question import DryRunInput, drafted
from control_api.dry_run.report import Report, Samples
from control_api.models import DefinitionRow, DryRunRow
from notifier.database import Database
from notifier.errors import Conflict, DatabaseError, UnknownName
from notifier.record import JsonObject, now, rfc3339
from notifier.settings import Settings

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 2  # in all API processes together: each takes a processor
BEAT_S = 0.5  # between two signs of life
DEAD_AFTER = timedelta(seconds=30)  # without one, also where the clocks of two machines differ a little
_LINE_BYTES = 4 * 1024 * 1024
_ID = re.compile(r"[0-9a-f-]{36}")
_GONE = "the API process that worked on it has gone; begin another dry run"


class DryRuns:
    """The dry runs of this installation, and the children of this process."""

    def __init__(self, settings: Settings, database: Database, services: Services) -> None:
        self._settings = settings
        self._database = database
        self._services = services
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by id, of those that this process works on
        self._children: dict[str, Process] = {}

    async def stop(self) -> None:
        """Ends all that this process works on; they are `failed` then."""
        tasks = dict(self._tasks)
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for id_ in tasks:
            await self._end(id_, "the API process that worked on it was stopped; begin another dry run")

    async def begin(self, actor: Actor, configuration: str, asked: DryRunInput, id_: str, at: datetime) -> None:
        """Begins a dry run under an id; one that was begun under it already goes on.

        Raises UnknownName, OtherTeam, InputError that names the field, and Conflict while too many are at work.
        """
        span = asked.span(at)
        if asked.draft is None:
            draft, name = None, (await self._services.seen_by(actor).get("configuration", configuration)).name
        else:
            draft = await drafted(self._database, self._services, actor, configuration, asked.draft)
            name = configuration
        async with self._database.write() as session:
            await lock(session)
            if await session.get(DryRunRow, id_) is not None:
                return  # the request is repeated, after an answer that did not get through
            await _bury(session)
            query = select(func.count()).select_from(DryRunRow).where(DryRunRow.state == "running")
            if (await session.scalar(query) or 0) >= MOST_AT_ONCE:
                raise Conflict(f"{MOST_AT_ONCE} dry runs are at work already; wait until one ends, or cancel one")
            session.add(
                DryRunRow(
                    id=id_,
                    configuration=name,
                    draft=draft,
                    since=span.since,
                    until=span.until,
                    actor=actor.name,
                    state="running",
                    report=msgspec.to_builtins(Report()),
                    samples=msgspec.to_builtins(Samples()),
                    created_at=now(),
                    alive_at=now(),
                )
            )
        order = Order(
            settings=passed_on(self._settings), configuration=name, draft=draft, since=span.since, until=span.until
        )
        task = asyncio.create_task(self._work(id_, order), name=f"dry run {id_}")
        self._tasks[id_] = task
        task.add_done_callback(lambda _: self._tasks.pop(id_, None))

    async def get(self, actor: Actor, id_: str) -> JsonObject:
        """A dry run and what it has found so far, as far as the actor sees it. Raises UnknownName."""
        async with self._database.read() as session:
            row = await _row(session, id_)
            hidden = await hidden_from(session, actor)
        _check_seen(actor, row, hidden)
        if row.state == "running" and row.alive_at < now() - DEAD_AFTER:
            async with self._database.write() as session:
                await _bury(session)
                row = await _row(session, id_)
        return _answer(row, hidden)

    async def cancel(self, actor: Actor, id_: str) -> None:
        """Cancels a dry run, whichever process works on it; one that has ended stays as it is.

        Raises UnknownName, and OtherTeam where it is of another team's configuration and somebody else began it.
        """
        async with self._database.write() as session:
            row = await _row(session, id_)
            _check_seen(actor, row, await hidden_from(session, actor))
            if row.actor != actor.name:
                team = await _team(session, row)
                actor.require_team(team, f"the dry run of the configuration {row.configuration!r}")
            if row.state == "running":
                row.state, row.ended_at = "cancelled", now()
        child = self._children.get(id_)
        if child is not None:
            _kill(child)

    # --- work ---

    async def _work(self, id_: str, order: Order) -> None:
        try:
            why = await self._follow(id_, order)
        except DatabaseError as error:
            why = str(error)
        except Exception as error:  # nothing may leave a row that says `running`
            logger.exception("A dry run failed.", extra={"action": "dry_run", "id": id_})
            why = f"it failed: {type(error).__name__}"
        await self._end(id_, why)

    async def _end(self, id_: str, why: str) -> None:
        """Writes that it has ended, and why it failed; nothing: it is done. One that has ended already stays as it is."""
        state = "failed" if why else "done"
        with suppress(DatabaseError):  # then it is found dead after a while
            async with self._database.write() as session:
                await _write(session, id_, state=state, error=why or None, ended_at=now())

    async def _follow(self, id_: str, order: Order) -> str:
        """Runs the child; answers why it failed, or nothing."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a folder of the user's called `filters` would shadow ours
            "-m",
            "control_api.dry_run.child",
            stdin=PIPE,
            stdout=PIPE,
            limit=_LINE_BYTES,
        )
        self._children[id_] = child
        try:
            assert child.stdin is not None
            child.stdin.write(msgspec.json.encode(order) + b"\n")
            found = _Found()
            reading = asyncio.create_task(found.read(child), name=f"read dry run {id_}")
            try:
                over = False
                while not over:
                    await asyncio.wait([reading], timeout=BEAT_S)
                    over = reading.done()  # before the beat, so that all that was read is written
                    over = not await self._beat(id_, found) or over
                if reading.done():
                    reading.result()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            if found.error is None and found.report.progress < 1:
                return "its process was killed, or ran out of memory; begin another dry run"
            return found.error or ""
        finally:
            _kill(child)
            await child.wait()
            del self._children[id_]

    async def _beat(self, id_: str, found: "_Found") -> bool:
        """Writes what was found, and that this process lives. Answers whether the dry run is still wanted."""
        values: JsonObject = {"report": msgspec.to_builtins(found.report), "alive_at": now()}
        count = found.samples.count()
        if count > found.shown:
            values["samples"] = msgspec.to_builtins(found.samples)
        try:
            async with self._database.write() as session:
                wanted = await _write(session, id_, **values)
        except DatabaseError as error:  # it may be back before this counts as dead
            logger.warning("A dry run cannot tell how far it is: %s", error, extra={"action": "dry_run", "id": id_})
            return True
        found.shown = count
        return wanted


class _Found:
    """What a child has told so far."""

    def __init__(self) -> None:
        self.report = Report()
        self.samples = Samples()
        self.shown = 0  # samples that are stored
        self.error: str | None = None

    async def read(self, child: Process) -> None:
        """Reads until the child ends."""
        assert child.stdout is not None
        async for line in lines(child.stdout):
            self.take(line)

    def take(self, line: Line) -> None:
        """Keeps what a line says."""
        self.report = line.report or self.report
        self.samples = line.samples or self.samples
        self.error = line.error


def _kill(child: Process) -> None:
    with suppress(ProcessLookupError):
        child.kill()


async def _write(session: AsyncSession, id_: str, **values: object) -> bool:
    """Writes columns of a dry run that is still running; answers whether it is."""
    mine = (DryRunRow.id == id_, DryRunRow.state == "running")
    result = await session.execute(update(DryRunRow).where(*mine).values(**values))
    assert isinstance(result, CursorResult)
    return bool(result.rowcount)


async def _bury(session: AsyncSession) -> None:
    """Says of each dry run that nobody works on any more that it failed."""
    dead = (DryRunRow.state == "running", DryRunRow.alive_at < now() - DEAD_AFTER)
    await session.execute(update(DryRunRow).where(*dead).values(state="failed", error=_GONE, ended_at=now()))


async def _row(session: AsyncSession, id_: str) -> DryRunRow:
    row = await session.get(DryRunRow, id_, populate_existing=True) if _ID.fullmatch(id_) else None
    if row is None:
        raise UnknownName("dry run", id_)
    return row


def _check_seen(actor: Actor, row: DryRunRow, hidden: Hidden) -> None:
    if row.configuration in hidden.of("configuration") or not actor.sees((row.draft or {}).get("team")):
        raise UnknownName("dry run", row.id)


async def _team(session: AsyncSession, row: DryRunRow) -> str | None:
    """The team of the configuration; of one that is not stored, that of the draft."""
    query = select(DefinitionRow.team).where(
        DefinitionRow.kind == "configuration", DefinitionRow.name == row.configuration
    )
    found = (await session.scalars(query)).all()
    return found[0] if found else (row.draft or {}).get("team")


def _answer(row: DryRunRow, hidden: Hidden) -> JsonObject:
    return {
        "id": row.id,
        "configuration": row.configuration,
        "draft": row.draft is not None,
        "since": rfc3339(row.since),
        "until": rfc3339(row.until),
        "state": row.state,
        "error": row.error,
        **row.report,
        "samples": {
            side: [_shown(one, hidden) for one in found if not _is_hidden(one, hidden)]
            for side, found in row.samples.items()
        },
        "created_at": rfc3339(row.created_at),
        "ended_at": None if row.ended_at is None else rfc3339(row.ended_at),
    }


def _shown(sample: JsonObject, hidden: Hidden) -> JsonObject:
    """The sample, without words on everyone where some of them are of another team."""
    if sample.get("recipient") is not None or not hidden.of("user"):
        return sample
    return {**sample, "why": "It concerns people of other teams too, so it is not said."}


def _is_hidden(sample: JsonObject, hidden: Hidden) -> bool:
    """Whether it shows a message or a person of another team."""
    return sample["producer"] in hidden.of("producer") or sample.get("recipient") in hidden.of("user")
