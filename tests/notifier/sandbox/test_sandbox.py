"""The sandbox in this process, at each level: results, cancelling, limits, secrets."""

import asyncio
import os

import pytest

from notifier.errors import ScriptFailed, ScriptTimeout
from notifier.sandbox import Sandbox, ScriptLimits
from tests.rigs.sandboxes import (
    running,
    script,
)


async def test_a_cancelled_run_leaves_nothing(sandbox: Sandbox) -> None:
    marker = f"cancelled-{os.getpid()}-{sandbox.level}"
    content = f"setsid python3 -c 'import time; time.sleep(1000)' {marker} & exec -a {marker} sleep 1000"
    task = asyncio.create_task(sandbox.run(script(content), limits=ScriptLimits()))
    while len(running(marker)) < 2:
        await asyncio.sleep(0.05)
        assert not task.done()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # an impatient caller
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running(marker) == []


async def test_the_result_tells_how_long_it_ran(sandbox: Sandbox) -> None:
    output = await sandbox.run(script("print(6 * 7)", "python"), limits=ScriptLimits())
    assert (output.stdout, output.stderr) == (b"42\n", "")
    assert output.seconds > 0


async def test_limits_hold_without_a_sandbox_too(sandbox: Sandbox) -> None:
    marker = f"off-{os.getpid()}-{sandbox.level}"
    with pytest.raises(ScriptTimeout):
        await sandbox.run(
            script(f"setsid python3 -c 'import time; time.sleep(1000)' {marker} & exec -a {marker} sleep 1000"),
            limits=ScriptLimits(timeout_s=0.5),
        )
    assert running(marker) == []
    with pytest.raises(ScriptFailed, match="output_bytes"):
        await sandbox.run(script("yes"), limits=ScriptLimits(output_bytes=1000))
    with pytest.raises(ScriptFailed, match="memory_mb"):
        await sandbox.run(script("x = bytearray(10**9)", "python"), limits=ScriptLimits(memory_mb=64))
    with pytest.raises(ScriptFailed) as raised:
        await sandbox.run(script("echo why >&2; exit 2"), limits=ScriptLimits())
    assert raised.value.stderr == "why\n"


async def test_secrets_that_are_too_large_are_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ScriptFailed, match="larger than"):
        await sandbox.run(script("exit 0"), limits=ScriptLimits(), secrets={"A": "x" * 100_000})
