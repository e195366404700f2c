"""FailedSignIns: tries to sign in that failed, in the audit log: of which account and from which address.

A name is kept only where an account has it, since people type their password into the wrong field. The number of entries is
limited, so that guessing passwords does not fill the database. Each account has its own limit, so that guesses at one hide
nothing of another; all unknown names share one limit. The process's log has every failed sign-in.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from control_api.access.accounts import get_account
from control_api.access.actor import COMMAND_LINE
from control_api.access.entry import entry
from notifier.database import Database
from notifier.errors import DatabaseError, UnknownName
from notifier.record import JsonObject

logger = logging.getLogger(__name__)

MOST = 20  # entries of one account, and of no account, within the window; each process counts for itself
WINDOW_S = 3600.0
_AT_ONCE = 100  # that wait to be written

NOBODY = "nobody"  # the actor: other actors are `account …`, `token …` or `cli`


class FailedSignIns:
    """Notes failed tries after their answer, whose time therefore does not tell which accounts exist."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._until = 0.0  # of the window
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, name: str, host: str | None) -> None:
        """Has the try noted; `name` is what was typed."""
        if len(self._tasks) < _AT_ONCE:
            task = asyncio.create_task(self._note(name, host), name="failed_sign_in")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Returns when what is to be noted is noted."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _note(self, name: str, host: str | None) -> None:
        try:
            async with self._database.read() as session:
                try:
                    account = (await get_account(session, COMMAND_LINE, name)).name
                except UnknownName:
                    account = ""
            left = self._take(account)
            if left is None:
                return
            after: JsonObject = {"address": host}
            if left == 0:
                after["note"] = "more within this hour are in the log of the process only"
            async with self._database.write() as session:
                session.add(entry(NOBODY, "sign_in_failed", "account", account, after=after))
        except DatabaseError as error:
            logger.warning("A failed sign-in is not noted: %s", error, extra={"action": "note_sign_in"})

    def _take(self, account: str) -> int | None:
        """How many more may be noted within the window; None: not even this one."""
        at = self._clock()
        if at >= self._until:
            self._counts.clear()
            self._until = at + WINDOW_S
        if self._counts[account] >= MOST:
            return None
        self._counts[account] += 1
        return MOST - self._counts[account]
