"""Doors: which plugin a hook is handed to while its definition changes."""

import asyncio
from types import SimpleNamespace
from typing import Any

from control_api.definitions.doors import Doors, _Open


class Slow:
    """A plugin that takes a while to close."""

    type = "slow"

    def __init__(self) -> None:
        self.closes = asyncio.Event()
        self.go_on = asyncio.Event()
        self.closed = False

    async def close(self) -> None:
        self.closes.set()
        await self.go_on.wait()
        self.closed = True


class Defined:
    """Stands for `Services`: one producer, at the revision that is set."""

    def __init__(self) -> None:
        self.revision = 1
        self.registry: Any = None

    async def get(self, kind: str, name: str) -> Any:
        return SimpleNamespace(name=name, revision=self.revision)


class Watched(Doors):
    """Builds a plugin of the tests for each revision."""

    def __init__(self, defined: Defined) -> None:
        super().__init__(defined, None, None)  # type: ignore[arg-type]  # it builds nothing of a definition
        self.built: list[Slow] = []

    def _build(self, stored: Any) -> Any:
        self.built.append(Slow())
        return _Open(self.built[-1], stored.revision)  # type: ignore[arg-type]  # a plugin of the tests


async def test_what_a_request_was_given_is_not_closed_by_another() -> None:
    defined = Defined()
    doors = Watched(defined)
    async with doors.use("ci"):
        pass

    async def second() -> None:
        async with doors.use("ci") as plugin:
            assert not plugin.closed  # type: ignore[attr-defined]  # a plugin of the tests

    defined.revision = 2
    task = asyncio.create_task(second())
    await doors.built[0].closes.wait()  # the second waits for the first to close
    defined.revision = 3
    async with asyncio.timeout(60), doors.use("ci"):  # and is replaced meanwhile
        doors.built[1].go_on.set()
    doors.built[0].go_on.set()
    await task
    assert doors.built[1].closed
