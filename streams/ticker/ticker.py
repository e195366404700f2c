"""Ticker: writes a tick when a configuration is due. Any number of tickers share the work by `streams.ticker.claims`.

Guarantees, whichever ticker dies or stands still, and when:

* One tick for each configuration and due time. A due time is claimed in the database under a unique key, in the transaction
  that moves its cursor on. The tick's id is made of the two, so every ticker publishes the same tick.
* None is missing. A claim is published with acks=all and then marked as sent. A claim left unsent for 3 s is published by any
  ticker, so after a crash between the two the same tick may be on the topic twice; a run is done once.
* Due times while no ticker worked (`streams.ticker.due.LATE_S` or longer) are made up for as the schedule's `missed` says: none,
  the last, or all, at most the last 1000.
* A schedule counts from the moment when it was defined: a new or changed one makes up for nothing before that. Changes that
  leave the schedule as it is leave its due times alone. A configuration that is not enabled has none.

What is due is `streams.ticker.due`'s. The definitions come from their topic; no key for secrets is needed. Claims go on while
the broker is away, and are published when it is back. A clock that is set back makes nothing due again.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from notifier.catalog import Catalog, Configuration
from notifier.database import Database
from notifier.definition import definition_key
from notifier.errors import DatabaseError
from notifier.kafka import ensure_topics
from notifier.one_line import one_line
from notifier.record import now
from notifier.registry import Registry
from notifier.role import run_role
from notifier.settings import Settings
from notifier.topics import TICKS
from streams.definitions import Definitions
from streams.registry import load_registry
from streams.reporting import reported
from streams.ticker.claims import Claim, Claims
from streams.ticker.due import MISSED_LIMIT, Cursor, Move, advance, reconcile
from streams.writer import Writer

logger = logging.getLogger(__name__)

UNSENT_S = 3.0  # a claim that this ticker sees unsent for so long is published by it
ID_HEADER = "tick_id"  # of each tick on the topic; equal for every copy of it
_LOOK_EVERY_S = 1.0  # at the database, when nothing is due earlier
_RECONCILE_EVERY_S = 30.0  # when no definition changes
_ORPHAN_S = 60.0  # a cursor whose configuration is unknown for so long is of a deleted one
_AT_ONCE = 100  # configurations in one transaction, claims in one batch
_FORGET_EVERY_S = 3600.0
_KEEP = timedelta(milliseconds=TICKS.retention_ms or 0)  # claims that were sent; as long as the topic keeps them
_STOP_WAIT_S = 10.0
_RETRY_S = 1.0

Key = tuple[str, datetime]


class Ticker:
    """One ticker; `run` is its life."""

    def __init__(self, settings: Settings, definitions: Definitions, database: Database) -> None:
        self._settings = settings
        self._definitions = definitions
        self._claims = Claims(database, f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"[-100:])
        self._writer = Writer(settings)
        self._stale = True  # whether definitions have changed since the cursors were compared with them
        self._wake = asyncio.Event()  # definitions have changed, or it is time to stop
        self._fresh: list[Claim] = []  # claimed and not yet published
        self._claimed = asyncio.Event()
        self._seen: dict[Key, tuple[Claim, float]] = {}  # unsent claims, and since when (monotonic)
        self._orphans: dict[str, float] = {}  # since when a cursor has no configuration (monotonic)
        self._stopping = False
        self._claiming = True  # there may be more to publish

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set; then publishes what it has claimed, if the broker lets it. Raises what ends it."""
        await ensure_topics(self._settings, [TICKS])
        await self._definitions.load()
        if not await self._wait_for_tables(stop):
            return
        self._definitions.on_change(self._follow)
        tasks = [
            asyncio.create_task(self._claim_loop(), name="claim"),
            asyncio.create_task(self._publish_loop(), name="publish"),
        ]
        stopped = asyncio.create_task(stop.wait())
        logger.info("The ticker has started.", extra={"action": "start"})
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            self._stopping = True
            self._wake.set()
            # Asked to end, not cancelled, so that no transaction is cut; a broker that is away is not waited for.
            await asyncio.wait(tasks, timeout=_STOP_WAIT_S)
        finally:
            stopped.cancel()
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await self._writer.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end
        logger.info("The ticker has stopped.", extra={"action": "stop"})

    async def _wait_for_tables(self, stop: asyncio.Event) -> bool:
        told = False
        while not stop.is_set():
            try:
                if await self._claims.tables_exist():
                    return True
                text = "its tables are not there; `notifier api` or `notifier migrate` makes them"
            except DatabaseError as error:
                text = str(error)
            if not told:
                told = True
                logger.warning("The ticker waits for the database: %s", text, extra={"action": "wait_for_database"})
            await _wait(stop, _RETRY_S)
        return False

    def _follow(self, catalog: Catalog) -> None:
        self._stale = True
        self._wake.set()

    # --- claiming ---

    async def _claim_loop(self) -> None:
        try:
            await self._claim_until_stopped()
        finally:
            self._claiming = False
            self._claimed.set()

    async def _claim_until_stopped(self) -> None:
        reconciled = forgot = float("-inf")
        while not self._stopping:
            self._wake.clear()
            if self._definitions.failed is not None:
                raise self._definitions.failed
            wait_s = _RETRY_S
            try:
                if self._stale or time.monotonic() - reconciled > _RECONCILE_EVERY_S:
                    self._stale = False
                    await self._reconcile()
                    reconciled = time.monotonic()
                await self._claim_due()
                if self._stale:
                    continue
                if time.monotonic() - forgot > _FORGET_EVERY_S:
                    await self._claims.forget(now() - _KEEP)
                    forgot = time.monotonic()
                next_due_at = await self._claims.next_due_at()
                wait_s = _LOOK_EVERY_S
                if next_due_at is not None:
                    # A row that is still due is one that this ticker may not move; no reason to ask without a pause.
                    ahead_s = (next_due_at - now()).total_seconds()
                    wait_s = min(wait_s, ahead_s) if ahead_s > 0 else wait_s
            except (DatabaseError, SQLAlchemyError) as error:
                self._stale = True
                _warn("claim", error)
            await _wait(self._wake, wait_s)

    async def _claim_due(self) -> None:
        configurations = self._definitions.catalog.configurations
        at = now()
        due = [cursor for cursor in await self._claims.cursors(at) if cursor.configuration in configurations]
        for start in range(0, len(due), _AT_ONCE):
            moves = []
            for cursor in due[start : start + _AT_ONCE]:
                configuration = configurations[cursor.configuration]
                if cursor.revision < configuration.version:
                    self._stale = True  # another ticker moved it while we brought it to its new version
                # One of a newer version is left to the tickers that know it.
                elif cursor.revision == configuration.version and configuration.spec.schedule is not None:
                    moves.append(advance(cursor, configuration.spec.schedule.missed, at, at))
            await self._move_on(moves)

    async def _move_on(self, moves: Sequence[Move]) -> None:
        if not moves:
            return
        for move in moves:
            _log_missed(move)
        claims = await self._claims.move(moves)
        if claims:
            self._fresh += claims
            self._claimed.set()

    # --- definitions ---

    async def _reconcile(self) -> None:
        """Brings the cursors to the definitions."""
        configurations = self._definitions.catalog.configurations
        cursors = {cursor.configuration: cursor for cursor in await self._claims.cursors()}
        wanted = reconcile(cursors, configurations, self._defined_at, now())
        dropped = wanted.dropped + self._orphaned(cursors, configurations)
        for start in range(0, len(wanted.added), _AT_ONCE):
            await self._claims.add(wanted.added[start : start + _AT_ONCE])
        if dropped:
            await self._claims.drop(dropped)
        for start in range(0, len(wanted.moves), _AT_ONCE):
            await self._move_on(wanted.moves[start : start + _AT_ONCE])

    def _orphaned(self, cursors: Mapping[str, Cursor], known: Iterable[str]) -> list[Cursor]:
        """The cursors whose configurations have been unknown for _ORPHAN_S; until then a definition may be on its way."""
        at = time.monotonic()
        self._orphans = {name: self._orphans.get(name, at) for name in cursors.keys() - set(known)}
        return [cursors[name] for name, since in self._orphans.items() if at - since > _ORPHAN_S]

    def _defined_at(self, configuration: Configuration) -> datetime:
        at = now()
        return min(self._definitions.written_at.get(definition_key("configuration", configuration.name), at), at)

    # --- publishing ---

    async def _publish_loop(self) -> None:
        swept = time.monotonic()
        while True:
            self._claimed.clear()
            batch, self._fresh = self._fresh[:_AT_ONCE], self._fresh[_AT_ONCE:]
            if not batch and not self._stopping and time.monotonic() - swept >= _LOOK_EVERY_S:
                try:
                    batch = await self._left_unsent()
                except (DatabaseError, SQLAlchemyError) as error:
                    _warn("publish", error)
                swept = time.monotonic()
            if batch:
                await self._publish(batch)
            elif not self._claiming:
                return
            else:
                await _wait(self._claimed, _LOOK_EVERY_S)

    async def _left_unsent(self) -> list[Claim]:
        """Claims that were left unsent, taken over. No time of another machine is compared with this one's."""
        at = time.monotonic()
        seen: dict[Key, tuple[Claim, float]] = {}
        for claim in await self._claims.unsent():
            key = (claim.configuration, claim.due_at)
            known = self._seen.get(key)
            seen[key] = known if known is not None and known[0] == claim else (claim, at)
        self._seen = seen
        left = [claim for claim, since in seen.values() if at - since >= UNSENT_S]
        if not left:
            return []
        logger.info("%s ticks were claimed and not sent; they are sent now.", len(left), extra={"action": "publish"})
        return await self._claims.take_over(left[:_AT_ONCE])

    async def _publish(self, claims: Sequence[Claim]) -> None:
        async with asyncio.TaskGroup() as group:  # sent in this order and acknowledged in batches
            for claim in claims:
                headers = [(ID_HEADER, claim.tick_id.encode())]
                group.create_task(self._writer.write(TICKS.name, claim.configuration, claim.tick.encode(), headers))
        while True:
            try:
                await self._claims.mark_sent(claims)
            except (DatabaseError, SQLAlchemyError) as error:
                _warn("publish", error)
                if self._stopping:
                    return  # sent once more later, under the same ids
                await asyncio.sleep(_RETRY_S)
            else:
                return


def _log_missed(move: Move) -> None:
    if move.missed is None:
        return
    configuration = move.old.configuration
    extra = {"action": "make_up", "configuration": configuration}
    if move.cut:
        logger.warning(
            "%s has missed more than %s due times; those before %s are not made up for.",
            configuration,
            MISSED_LIMIT,
            move.due[0].isoformat(),
            extra=extra,
        )
    logger.info(
        "%s has missed due times since %s (missed: %s); %s made up for.",
        configuration,
        move.old.next_due_at.isoformat(),
        move.missed,
        len(move.due),
        extra=extra,
    )


def _warn(action: str, error: Exception) -> None:
    text = one_line(error)
    logger.warning("The database cannot be used now and will be tried again: %s", text, extra={"action": action})


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass


async def run_ticker(settings: Settings, *, stop: asyncio.Event, registry: Registry | None = None) -> None:
    """One ticker, until `stop` is set. Raises NotifierError where it cannot go on: no broker, or a newer record."""
    definitions = Definitions(settings, Catalog(registry=registry or load_registry()))
    database = Database(settings)
    try:
        async with reported(settings, ["ticker"], definitions):
            await Ticker(settings, definitions, database).run(stop)
    finally:
        await definitions.stop()
        await database.close()


def run_ticker_process(settings: Settings, registry: Registry | None = None) -> int:
    """Runs a ticker as this process; returns the exit status."""
    return run_role(settings, "ticker", lambda stop: run_ticker(settings, stop=stop, registry=registry))
