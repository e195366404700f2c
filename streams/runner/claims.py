"""Claims: those that this runner has made on runs and not yet read back from `runs`, where the log decides each."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

import msgspec
from aiokafka import ConsumerRecord

from notifier.run import Run
from streams.runner.leases import CLAIM, Leases
from streams.runner.run_log import RunLog

logger = logging.getLogger(__name__)


class Claims:
    """The open claims of one runner, by run."""

    def __init__(self, run_log: RunLog, leases: Leases) -> None:
        self._run_log = run_log
        self._leases = leases
        self._writes: dict[str, asyncio.Task[None]] = {}
        self._origins: dict[str, ConsumerRecord] = {}
        self._settled = asyncio.Event()  # set while no claim is open

    def __len__(self) -> int:
        return len(self._writes)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._writes

    def get(self, id_: str) -> asyncio.Task[None] | None:
        """The task that writes the open claim on a run; see `claim`."""
        return self._writes.get(id_)

    def claim(self, id_: str, run: Run, origin: ConsumerRecord | None = None) -> asyncio.Task[None]:
        """Claims a run; the task ends once the claim is on `runs`. Whether it won is known when it is read back.

        `origin` is the tick that the claim is made for, to be had again from `close`.
        """
        replaces = self._leases.replaces(id_)
        replaced = b"" if replaces is None else b"%d" % replaces
        run = msgspec.structs.replace(run, owner=self._run_log.owner, lease_until=self._run_log.lease_until())

        def written(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("The run %s cannot be claimed: %s", id_, error, extra={"action": "claim"})
                self.close(id_)

        task = asyncio.create_task(self._run_log.write(id_, run, (CLAIM, replaced)), name=f"claim {id_}")
        task.add_done_callback(written)
        self._writes[id_] = task
        if origin is not None:
            self._origins[id_] = origin
        self._settled.clear()
        return task

    def close(self, id_: str) -> ConsumerRecord | None:
        """Forgets a claim that was read back, won or lost; returns the tick that it was made for."""
        self._writes.pop(id_, None)
        if not self._writes:
            self._settled.set()
        return self._origins.pop(id_, None)

    async def wait_until_read_back(self, timeout_s: float) -> None:
        """Waits until no claim is open, `timeout_s` seconds at most."""
        if self._writes:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._settled.wait()

    def writes(self) -> Iterable[asyncio.Task[None]]:
        """The tasks that write the open claims; some may be done."""
        return self._writes.values()
