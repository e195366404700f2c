"""How a script ends: by itself, by its time, by the end of Notifier or of the launcher; nothing of it is left."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from notifier.errors import ScriptFailed
from notifier.sandbox import Sandbox, ScriptLimits, launcher
from tests.rigs.sandboxes import (
    KINDS,
    OLD_KINDS,
    US,
    Kind,
    Outcome,
    Place,
    bash,
    python,
    running,
    script,
    start,
    wait_for,
)

GOES_ON = {
    "hangs": "exec -a {marker} sleep 1000",
    "ignores signals": "trap '' TERM HUP INT; python3 -c 'import time; time.sleep(1000)' {marker} & wait",
    "closes its pipes": "exec >&- 2>&- <&-; exec -a {marker} sleep 1000",
}


def test_a_script_that_goes_on_is_ended(any_place: Place) -> None:
    outcomes = any_place.run(
        *(bash(content.format(marker=any_place.marker()), timeout_s=0.5) for content in GOES_ON.values())
    )
    for case, outcome in zip(GOES_ON, outcomes, strict=True):
        assert outcome.error == "ScriptTimeout", case
        assert outcome.text == "script 'hostile' ran longer than its 0.5 s (timeout_s) and was ended", case


DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.chdir("/")
        if {let_go}:
            for number in range(10):
                try: os.close(number)
                except OSError: pass
        os.execv(sys.executable, ["python3", "-c", "import time; time.sleep(1000)", "{marker}"])
    os._exit(0)
os.wait()
time.sleep(0.3)
print("done")
"""


def test_what_a_script_leaves_running_ends_with_it(any_place: Place) -> None:
    daemons = (python(DAEMON.format(let_go=let_go, marker=any_place.marker())) for let_go in (True, False))
    assert any_place.run(*daemons) == [Outcome(stdout="done\n")] * 2


STATUSES = {
    "exit 3": "exit status 3",
    "exit 300": "exit status 44",
    "exit -1": "exit status 255",
    "kill -SEGV $$": "exit status 139 (as after SIGSEGV)",
    "kill -KILL $$": "exit status 137 (as after SIGKILL)",
    "no_such_command": "exit status 127",
    "echo first >&2; echo second >&2; exit 1": "exit status 1: second",
}


@pytest.mark.predecessor("S-51")
def test_an_exit_status_is_told(place: Place) -> None:
    outcomes = place.run(*map(bash, STATUSES))
    for (content, status), outcome in zip(STATUSES.items(), outcomes, strict=True):
        assert outcome.error == ("ScriptBroken" if content == "no_such_command" else "ScriptFailed"), content
        assert outcome.text.startswith(f"script 'hostile' ended with {status}"), content


def test_scripts_do_not_disturb_each_other(place: Place) -> None:
    hang, hog, bomb, *good = place.run(
        bash("sleep 1000", timeout_s=2.0),
        python("x = b'x' * 10**10"),
        bash("kill -9 -1; exit 7"),
        *(bash("for n in 1 2 3 4 5; do sleep 0.1; echo $n; done") for _ in range(4)),
    )
    assert (hang.error, hog.error, bomb.error) == ("ScriptTimeout", "ScriptFailed", "ScriptFailed")
    assert good == [Outcome(stdout="1\n2\n3\n4\n5\n")] * 4


def test_many_runs_at_once_all_succeed(place: Place) -> None:
    # A look at the processes can fall into any moment of a start, and must never take that for a limit.
    assert place.run(*(bash(f"echo {n}") for n in range(30))) == [Outcome(stdout=f"{n}\n") for n in range(30)]


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], OLD_KINDS[1]], ids=str)
def test_a_script_ends_when_notifier_is_killed(kind: Kind) -> None:
    if kind.needs_root and US != 0:
        pytest.skip("only root can start a process as nobody")
    folder = Path(tempfile.mkdtemp(prefix="test-sandbox-"))
    try:
        other = start(kind, folder)
        marker = f"killed-{os.getpid()}-{kind}"
        assert other.process.stdin is not None
        assert other.process.stdout is not None
        job = bash(f"setsid python3 -c 'import time; time.sleep(1000)' {marker} & exec -a {marker} sleep 1000")
        other.process.stdin.write(json.dumps([job]) + "\n")
        other.process.stdin.flush()
        wait_for(lambda: len(running(marker)) == 2)
        other.process.kill()
        other.process.wait()
        other.process.stdin.close()
        other.process.stdout.close()
        wait_for(lambda: not running(marker))
        wait_for(lambda: not list(other.runs.iterdir()))
    finally:
        shutil.rmtree(folder)


async def test_a_killed_launcher_takes_the_script_with_it(sandbox: Sandbox) -> None:
    marker = f"launcher-{os.getpid()}-{sandbox.level}"
    content = f"setsid python3 -c 'import time; time.sleep(1000)' {marker} & exec -a {marker} sleep 1000"
    task = asyncio.create_task(sandbox.run(script(content), limits=ScriptLimits()))
    while len(running(marker)) < 2:
        await asyncio.sleep(0.05)
        assert not task.done()
    for child in psutil.Process().children():
        if "notifier.sandbox.launcher" in " ".join(child.cmdline()):
            child.kill()
    with pytest.raises(ScriptFailed, match="from outside"):
        await task
    wait_for(lambda: not running(marker))


def test_the_launcher_needs_only_its_own_folder_and_light_modules() -> None:
    own = ["bwrap", "landlock", "launcher", "linux", "own_user", "seccomp", "usage"]
    folder = Path(launcher.__file__).parent
    imports = ", ".join(f"notifier.sandbox.{name}" for name in own)
    boot = launcher.BOOT.replace("from notifier.sandbox.launcher import main;main(sys.argv[2:])", f"import {imports}")
    assert boot != launcher.BOOT
    heavy = {"asyncio", "enum", "json", "pathlib", "re", "signal", "socket", "subprocess", "typing"}
    command = [sys.executable, "-I", "-S", "-c", f"{boot}\nprint(*sys.modules)", str(folder)]
    loaded = set(subprocess.run(command, env={}, cwd="/", check=True, capture_output=True, text=True).stdout.split())
    assert not loaded & heavy
    assert {name for name in loaded if name.startswith("notifier.sandbox.")} == {
        f"notifier.sandbox.{name}" for name in own
    }
