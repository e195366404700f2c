"""The demo: real deliveries, an account, nothing left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from notifier.settings import PREFIX
from tests.rigs.kafka_tools import WAIT_S, wait_until
from tests.rigs.repository import ROOT


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment without `NOTIFIER_…` variables, with temporary files in `folder`."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**found, "TMPDIR": str(folder), "COLUMNS": "120"}


def _left(folder: Path) -> list[str]:
    """Processes that work in the folder or were started with its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), process.environ().get("TMPDIR", ""), process.cwd()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in text for text in texts):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.slow
async def test_the_demo_delivers_and_accounts_for_every_message(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "notifier",
        "demo",
        env=_environment(tmp_path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = (text.decode() for text in await asyncio.wait_for(process.communicate(), 2 * WAIT_S))
    assert process.returncode == 0, out + err
    assert "What came in, and what became of it" in out
    for word in ("delivered to alice", "delivered to carol", "unknown_receiver", "on_leave", "filtered", "no-drafts"):
        assert word in out, out
    for reason in ("invalid", "unknown_producer"):
        assert f"dead letter {reason}" in out, out
    assert "Traceback" not in err
    assert _left(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only there a child dies with its parent at once")
@pytest.mark.parametrize("seconds", [0.3, 1.5, 4])
async def test_a_demo_whose_make_is_killed_leaves_no_process(tmp_path: Path, seconds: float) -> None:
    """SIGKILL to `make` alone, as a terminal that crashes does it; the demo is its child."""
    repository = ROOT
    process = await asyncio.create_subprocess_exec(
        "make",
        "-C",
        str(repository),
        "demo",
        env=_environment(tmp_path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    await asyncio.sleep(seconds)
    assert process.returncode is None, "the demo was over before it could be killed"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    # Standard output ends when the last process that holds it has ended.
    said = (await asyncio.wait_for(process.stdout.read(), WAIT_S)).decode()
    assert "What came in, and what became of it" not in said, "it went on to its end"
    await wait_until(lambda: not _left(tmp_path), 120, lambda: "\n".join(_left(tmp_path)))
