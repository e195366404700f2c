"""Roles as real processes, `notifier router` and the like, for tests that start and kill them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from notifier.settings import PREFIX, Settings, variable
from tests.rigs.kafka_tools import WAIT_S


def environment(settings: Settings, **more: Any) -> dict[str, str]:
    """The environment of a process that shall have these settings, and no other `NOTIFIER_…` variable."""
    found = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            found[variable(name)] = _text(value)
    found |= {variable(name): _text(value) for name, value in more.items()}
    return found


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


class Role:
    """One running `notifier …` process; its output goes to a file in the data folder, for the report of a failure."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and waits; answers the exit status. Fails when the process does not end within WAIT_S."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        try:
            return await asyncio.wait_for(self.process.wait(), WAIT_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(
                f"{self.name} did not end within {WAIT_S} s of {number.name}:\n{self.output()[-3000:]}"
            ) from None

    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")


async def start_role(settings: Settings, *command: str, env: Mapping[str, str] | None = None) -> Role:
    """Starts `notifier COMMAND…` with the settings; it is the caller's to stop."""
    log = settings.data_dir / f"{'-'.join(command)}-{os.urandom(3).hex()}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "notifier",
            *command,
            env=environment(settings) if env is None else dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=settings.data_dir,
        )
    return Role(command[0], process, log)


@asynccontextmanager
async def roles(settings: Settings, *names: str) -> AsyncIterator[dict[str, Role]]:
    """The roles while the block runs; stopped in an orderly way after it, and each must have ended with status 0."""
    running: dict[str, Role] = {}
    try:
        for name in names:
            running[name] = await start_role(settings, name)
        yield running
    except BaseException:
        for role in running.values():
            print(f"--- {role.name}\n{role.output()[-4000:]}")  # pytest shows it with the failure
        raise
    finally:
        statuses = {name: await role.stop() for name, role in running.items()}
    bad = {name: running[name].output()[-2000:] for name, status in statuses.items() if status != 0}
    assert not bad, f"these did not end with status 0: {bad}"


async def run(
    settings: Settings, *command: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Runs `notifier COMMAND…` to its end: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "notifier",
        *command,
        env=environment(settings) if env is None else dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=settings.data_dir,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), WAIT_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
