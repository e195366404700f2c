"""Sandboxes for tests: scripts that mean harm, at every level that is possible here, as root and as not.

A level is tried from a process of its own (`DRIVER`), which stands for Notifier: it has secrets in its environment and a
data folder, and runs as root or as nobody.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from notifier.sandbox import Level
from notifier.script import Executor, Script
from tests.rigs.repository import ROOT

NOBODY = 65534
CANARY = "canary-8d1f0c"  # what no script may ever see

DRIVER = """
import asyncio, json, sys
from pathlib import Path
from notifier.errors import ScriptError
from notifier.sandbox import Level, ScriptLimits, detect_sandbox
from notifier.script import Script
from notifier.settings import load_settings

setup = json.loads(sys.argv[1])
settings = load_settings(None, data_dir=Path(setup["data_dir"]), script_sandbox=setup["script_sandbox"])
sandbox = detect_sandbox(
    settings, levels=[Level(level) for level in setup["levels"]], landlock_version=setup["landlock_version"]
)
print(json.dumps({"level": sandbox.level, "explanation": sandbox.explanation}), flush=True)

async def run(job):
    paths = {name: tuple(map(Path, job["limits"].get(name, ()))) for name in ("write", "tools")}
    limits = {**job["limits"], **paths}
    try:
        output = await sandbox.run(
            Script(name="hostile", executor=job["executor"], content=job["content"]),
            stdin=job["stdin"].encode(), limits=ScriptLimits(**limits), secrets=job["secrets"],
        )
    except ScriptError as error:
        return {"error": type(error).__name__, "text": str(error), "stderr": getattr(error, "stderr", "")}
    return {"stdout": output.stdout.decode(errors="replace"), "stderr": output.stderr}

async def run_all(jobs):
    return await asyncio.gather(*map(run, jobs))

for line in sys.stdin:
    print(json.dumps(asyncio.run(run_all(json.loads(line)))), flush=True)
"""


def require(condition: object, reason: str) -> None:
    """Skips the test on a machine that lacks something; fails where CI promised it."""
    if not condition:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True)
class Outcome:
    """What became of one script."""

    stdout: str = ""
    stderr: str = ""
    error: str = ""  # name of the exception's class; empty if the script succeeded
    text: str = ""  # of the exception


def bash(content: str, *, stdin: str = "", secrets: dict[str, str] | None = None, **limits: Any) -> dict[str, Any]:
    """One script to run; keywords are fields of ScriptLimits."""
    return _job("bash", content, stdin, secrets, limits)


def python(content: str, *, stdin: str = "", secrets: dict[str, str] | None = None, **limits: Any) -> dict[str, Any]:
    """One script to run; keywords are fields of ScriptLimits."""
    return _job("python", content, stdin, secrets, limits)


def _job(
    executor: Executor, content: str, stdin: str, secrets: dict[str, str] | None, limits: dict[str, Any]
) -> dict[str, Any]:
    limits = {"timeout_s": 20.0, **limits}
    return {"executor": executor, "content": content, "stdin": stdin, "secrets": secrets or {}, "limits": limits}


@dataclass(frozen=True)
class Kind:
    """Which sandbox, and who starts it."""

    name: str
    level: Level
    user: int = 0
    landlock_version: int | None = None
    needs_root: bool = False
    shares_user: bool = False  # every script gets a write path of the driver's user, and so that user

    def __str__(self) -> str:
        return self.name


@dataclass
class Place:
    """A driver at one level, with its data folder, its folder for runs and one that scripts may be given."""

    kind: Kind
    folder: Path
    process: "subprocess.Popen[str]"
    explanation: str = ""
    markers: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def runs(self) -> Path:
        """Where the folders of runs are made."""
        return self.folder / "runs"

    @property
    def out(self) -> Path:
        """A folder that the driver's user owns."""
        return self.folder / "out"

    def run(self, *jobs: dict[str, Any]) -> list[Outcome]:
        """Runs scripts at the same time, and sees that nothing of any is left."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.kind.shares_user:
            for job in jobs:
                job["limits"].setdefault("write", [str(self.folder / "shared")])
        self.process.stdin.write(json.dumps(jobs) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the driver ended with {self.process.wait()}"
        assert list(self.runs.iterdir()) == []
        assert [running(marker) for marker in self.markers if running(marker)] == []
        return [Outcome(**outcome) for outcome in json.loads(line)]

    def one(self, job: dict[str, Any]) -> Outcome:
        """Runs one script."""
        [outcome] = self.run(job)
        return outcome

    def marker(self) -> str:
        """A word for the command line of a process, by which `run` finds it if it is left behind."""
        self.markers.append(f"marker-{os.getpid()}-{len(self.markers)}-{self.kind}")
        return self.markers[-1]


def running(marker: str) -> list[str]:
    """The processes with a word in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if marker in line and process.pid != os.getpid() and "DRIVER" not in line:
            found.append(line)
    return found


def driver_python(user: int) -> str | None:
    """An interpreter with our dependencies that this user can start."""
    if user == os.geteuid():
        return sys.executable
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            subprocess.run(
                [candidate, "-c", "import notifier.sandbox"],
                env=driver_environment(Path("/")),
                user=user,
                group=user,
                extra_groups=[],
                cwd="/",
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


def driver_environment(folder: Path) -> dict[str, str]:
    packages = [path for path in sys.path if path.endswith("site-packages")]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), *packages]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "runs"),
        "DATABASE_PASSWORD": CANARY,
    }


def start(kind: Kind, folder: Path, *, script_sandbox: str = "require") -> Place:
    interpreter = driver_python(kind.user)
    require(interpreter is not None, f"no Python with our dependencies that user {kind.user} can start")
    assert interpreter is not None
    for name in ("data", "runs", "out", "home", "shared"):
        (folder / name).mkdir()
    (folder / "data" / "secret.key").write_text(CANARY)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, kind.user, kind.user if kind.user != os.geteuid() else -1)
    folder.chmod(0o755)
    setup = {
        "data_dir": str(folder / "data"),
        "levels": [kind.level] if kind.level is not Level.off else [],
        "landlock_version": kind.landlock_version,
        "script_sandbox": script_sandbox,
    }
    other = None if kind.user == os.geteuid() else kind.user
    process = subprocess.Popen(
        [interpreter, "-c", DRIVER, json.dumps(setup)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=driver_environment(folder),
        cwd="/",
        user=other,
        group=other,
        extra_groups=None if other is None else [],
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, "the driver did not start"
    told = json.loads(first)
    place = Place(kind=kind, folder=folder, process=process, explanation=told["explanation"])
    if told["level"] != kind.level:
        stop(place)
        require(False, f"{kind} is not possible here: {told['explanation']}")
    return place


def stop(place: Place) -> None:
    assert place.process.stdin is not None
    assert place.process.stdout is not None
    place.process.stdin.close()
    assert place.process.wait(timeout=120) == 0
    place.process.stdout.close()


US = os.geteuid()
KINDS = [
    Kind("bubblewrap", Level.bubblewrap, US),
    Kind("landlock", Level.landlock, US),
    Kind("bubblewrap-nobody", Level.bubblewrap, NOBODY, needs_root=True),
    Kind("landlock-nobody", Level.landlock, NOBODY, needs_root=True),
    Kind("bubblewrap-as-root", Level.bubblewrap, needs_root=True, shares_user=True),
    Kind("landlock-as-root", Level.landlock, needs_root=True, shares_user=True),
]
# As on Linux 6.11, which does not keep signals in; there the user of its own, or the filter, must.
OLD_KINDS = [
    Kind("landlock-5", Level.landlock, US, landlock_version=5),
    Kind("landlock-5-nobody", Level.landlock, NOBODY, landlock_version=5, needs_root=True),
    Kind("landlock-1-nobody", Level.landlock, NOBODY, landlock_version=1, needs_root=True),
    Kind("landlock-5-as-root", Level.landlock, landlock_version=5, needs_root=True, shares_user=True),
]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def script(content: str, executor: Executor = "bash") -> Script:
    return Script(name="s", executor=executor, content=content)
