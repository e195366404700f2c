"""The sandbox, against scripts that mean harm: the same suite at every level that is possible here, as root and as not.

A level is tried from a process of its own (`DRIVER`), which stands for Notifier: it has secrets in its environment and a
data folder, and runs as root or as nobody.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from notifier.errors import InputError, SandboxUnavailable, ScriptFailed, ScriptTimeout
from notifier.sandbox import Level, Limits, Sandbox, check_write_paths, detect_sandbox, landlock
from notifier.script import Executor, Script
from notifier.settings import Settings, load_settings
from tests.rigs.repository import ROOT

NOBODY = 65534
CANARY = "canary-8d1f0c"  # what no script may ever see

DRIVER = """
import asyncio, json, sys
from pathlib import Path
from notifier.errors import ScriptError
from notifier.sandbox import Level, Limits, detect_sandbox
from notifier.script import Script
from notifier.settings import load_settings

setup = json.loads(sys.argv[1])
settings = load_settings(None, data_dir=Path(setup["data_dir"]), script_sandbox=setup["script_sandbox"])
sandbox = detect_sandbox(
    settings, levels=[Level(level) for level in setup["levels"]], landlock_version=setup["landlock_version"]
)
print(json.dumps({"level": sandbox.level, "explanation": sandbox.explanation}), flush=True)

async def run(job):
    limits = dict(job["limits"], write=tuple(map(Path, job["limits"].get("write", ()))))
    try:
        output = await sandbox.run(
            Script(name="hostile", executor=job["executor"], content=job["content"]),
            stdin=job["stdin"].encode(), limits=Limits(**limits), secrets=job["secrets"],
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
    """One script to run; keywords are fields of Limits."""
    return _job("bash", content, stdin, secrets, limits)


def python(content: str, *, stdin: str = "", secrets: dict[str, str] | None = None, **limits: Any) -> dict[str, Any]:
    """One script to run; keywords are fields of Limits."""
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
    assert place.process.wait(timeout=30) == 0
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


@pytest.fixture(scope="module")
def places() -> Iterator[Callable[[Kind], Place]]:
    """A driver for each kind, started when it is first asked for."""
    started: dict[str, Place] = {}
    with ExitStack() as stack:

        def get(kind: Kind) -> Place:
            if kind.needs_root and US != 0:
                pytest.skip("only root can start a process as nobody, or a script as root")
            if kind.name not in started:
                folder = Path(tempfile.mkdtemp(prefix="test-sandbox-"))
                stack.callback(shutil.rmtree, folder)
                started[kind.name] = start(kind, folder)
                stack.callback(stop, started[kind.name])
            return started[kind.name]

        yield get


@pytest.fixture(params=KINDS, ids=str)
def place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """Every level, as root and as nobody."""
    return places(request.param)


@pytest.fixture(params=[*KINDS, *OLD_KINDS], ids=str)
def any_place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """The same, and Landlock as older kernels have it."""
    return places(request.param)


@pytest.fixture(params=[kind for kind in KINDS if kind.needs_root == kind.shares_user], ids=str)
def root_place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """Where Notifier is root, which alone can run a script as another user."""
    if US != 0:
        pytest.skip("only root can run a script as another user")
    return places(request.param)


@pytest.fixture(params=[kind for kind in KINDS if not kind.needs_root], ids=str)
def giving_place(request: pytest.FixtureRequest, places: Callable[[Kind], Place]) -> Place:
    """Where Notifier is root and gives each script a user of its own: those without `write`."""
    if US != 0:
        pytest.skip("only root can give out users")
    return places(request.param)


# What a script is given


def test_a_script_reads_its_input_and_prints(place: Place) -> None:
    outcomes = place.run(
        bash("cat; echo bash >&2", stdin="words"),
        python("import sys; print(sys.stdin.read().upper()); print('python', file=sys.stderr)", stdin="wörds"),
    )
    assert outcomes == [Outcome(stdout="words", stderr="bash\n"), Outcome(stdout="WÖRDS\n", stderr="python\n")]


def test_a_large_input_goes_in_and_an_unread_one_does_no_harm(place: Place) -> None:
    text = "x" * 3_000_000
    outcomes = place.run(bash("wc -c", stdin=text), bash("exec 0<&-; sleep 0.1; echo done", stdin=text))
    assert [outcome.stdout.strip() for outcome in outcomes] == ["3000000", "done"]


def test_the_usual_idioms_work(place: Place) -> None:
    script = """
        echo to stdout >/dev/stdout
        echo to stderr >/dev/stderr
        cat /dev/stdin
        cat < <(echo substitution)
        cat <<< here
        yes | head -n 1
        file=$(mktemp) && echo in $file | sed s,/.*/,, | cut -c1-7
        python3 -c 'import json, ssl, sqlite3; print("modules")'
        (exit 3) || echo "status $?"
    """
    outcome = place.one(bash(script, stdin="input\n"))
    assert outcome.stdout.split("\n") == [
        "to stdout", "input", "substitution", "here", "y", "in tmp.", "modules", "status 3", "",
    ]  # fmt: skip
    assert outcome.stderr == "to stderr\n"


@pytest.mark.predecessor("S-48")
def test_the_environment_holds_four_variables(place: Place) -> None:
    outcome = place.one(python("import os, json; print(json.dumps(dict(os.environ)))"))
    environment = json.loads(outcome.stdout)
    environment.pop("PWD", None)  # bwrap's own addition
    assert sorted(environment) == ["HOME", "LANG", "PATH", "TMPDIR"]
    assert environment["LANG"] == "C.UTF-8"


def test_secrets_come_on_descriptor_3_and_nowhere_else(any_place: Place) -> None:
    place = any_place
    canary = "geheimnis-4711"
    seen: list[str] = []

    def look() -> None:
        while not seen:
            for process in psutil.process_iter():
                try:
                    told = f"{process.cmdline()} {process.environ()}"
                except (psutil.Error, OSError):
                    continue
                if canary in told:
                    seen.append(told)
            if done.wait(0.05):
                return

    done = threading.Event()
    looking = threading.Thread(target=look)
    looking.start()
    reading = """
import glob, json, sys, time
secrets = json.load(open(3))
time.sleep(0.3)
for name in ("environ", "cmdline"):
    for path in glob.glob(f"/proc/[0-9]*/{name}"):
        try:
            print(open(path, errors="replace").read())
        except OSError:
            pass
print(secrets["TOKEN"][::-1])
print("it is", secrets["TOKEN"], file=sys.stderr)
"""
    try:
        outcomes = place.run(
            python(reading, secrets={"TOKEN": canary, "OTHER": "x"}),
            bash("secrets=$(cat <&3); echo ${#secrets}", secrets={"TOKEN": canary}),
            bash("{ cat <&3; } 2>/dev/null || echo none"),
        )
    finally:
        done.set()
        looking.join()
    assert seen == []
    assert canary not in outcomes[0].stdout
    assert CANARY not in outcomes[0].stdout
    assert outcomes[0].stdout.endswith(canary[::-1] + "\n")
    assert outcomes[0].stderr == "it is ***\n"
    assert outcomes[1].stdout == f"{len(json.dumps({'TOKEN': canary}, separators=(',', ':')))}\n"
    assert outcomes[2].stdout == "none\n"


def test_a_script_sees_the_machine_it_is_to_look_at(place: Place) -> None:
    script = """
        df -B1 --output=size / | tail -n 1
        awk '/^MemTotal/ {print $2}' /proc/meminfo
        free -k | awk '/^Mem/ {print $2}'
        uptime >/dev/null && cut -d. -f1 /proc/uptime
        hostname
        find /usr -maxdepth 1 -name bin -type d
        nproc
    """
    size, memory, free, up, host, found, processors = place.one(bash(script)).stdout.split()
    if place.runs.stat().st_dev == Path("/").stat().st_dev:
        assert int(size) == shutil.disk_usage("/").total
    assert int(memory) == int(free) == psutil.virtual_memory().total // 1024
    assert abs(int(up) - (time.time() - psutil.boot_time())) < 60
    assert host == os.uname().nodename
    assert found == "/usr/bin"
    assert int(processors) == len(os.sched_getaffinity(0))


def test_each_run_of_root_has_a_user_of_its_own(giving_place: Place) -> None:
    place = giving_place
    marker = place.marker()
    users: dict[int, int] = {}

    def look() -> None:
        deadline = time.monotonic() + 20
        while len(set(users.values())) < 3 and time.monotonic() < deadline:
            for process in psutil.process_iter():
                try:
                    if marker in process.cmdline() and "sleep" in process.name():
                        users[process.pid] = process.uids().real
                except psutil.Error:
                    pass

    looking = threading.Thread(target=look)
    looking.start()
    place.run(*(bash(f"exec -a {marker} sleep 2") for _ in range(3)))
    looking.join()
    assert len(set(users.values())) == 3
    assert not set(users.values()) & {0, NOBODY}


# Ending


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
        assert outcome.error == "ScriptFailed", content
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


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Limits


FLOODS = {
    "yes": "printed more than 1000000 bytes on standard output (output_bytes)",
    "yes >&2": "printed more than 1000000 bytes on standard error (output_bytes)",
    "head -c 100M /dev/zero": "printed more than 1000000 bytes on standard output (output_bytes)",
    "echo short; head -c 600000 /dev/zero; sleep 60": "printed a line of more than 500000 bytes (line_bytes)",
}


def test_a_flood_is_stopped(place: Place) -> None:
    outcomes = place.run(
        *(
            bash(content, output_bytes=1_000_000, line_bytes=500_000 if "line" in limit else 10**9)
            for content, limit in FLOODS.items()
        )
    )
    for (content, limit), outcome in zip(FLOODS.items(), outcomes, strict=True):
        assert outcome.error == "ScriptFailed", content
        assert outcome.text == f"script 'hostile' {limit} and was ended", content


def test_output_up_to_the_limit_comes_through_and_the_end_of_standard_error_is_kept(place: Place) -> None:
    outcome = place.one(bash("head -c 1000000 /dev/zero | tr '\\0' x; seq 100000 >&2; exit 0", output_bytes=1_000_000))
    assert outcome.stdout == "x" * 1_000_000
    assert len(outcome.stderr) == 64 * 1024
    assert outcome.stderr.endswith("99999\n100000\n")


BOMBS = {
    "forks": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "jumps": "import os\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass",
    "orphans": (
        "import os, time\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0:\n"
        "            os.setsid(); os.fork(); time.sleep(1000)\n"
        "    except OSError: pass"
    ),
}


def test_a_fork_bomb_does_not_go_off(place: Place) -> None:
    before = len(psutil.pids())
    *outcomes, other = place.run(
        *(python(bomb, timeout_s=1.5, cpu_s=3, processes=32) for bomb in BOMBS.values()),
        bash("sleep 0.5; echo fine"),
    )
    for bomb, outcome in zip(BOMBS, outcomes, strict=True):
        if bomb != "jumps":  # whose first process ends at once, and all with it
            assert outcome.error in {"ScriptFailed", "ScriptTimeout"}, bomb
    assert other == Outcome(stdout="fine\n")
    assert len(psutil.pids()) < before + 30


HOGS = {
    "alone": "x = []\nwhile True: x.append(bytearray(10**7))",
    "together": (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0: break\nx = bytearray(40 * 10**6)\ntime.sleep(60)"
    ),
    "shared": ("import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 10**7)); x[-1].write(bytes(10**7))"),
}


def test_a_memory_hog_is_stopped(place: Place) -> None:
    outcomes = place.run(*(python(hog, memory_mb=128, timeout_s=30.0) for hog in HOGS.values()))
    for case, outcome in zip(HOGS, outcomes, strict=True):
        assert outcome.error == "ScriptFailed", case
        assert "used more than its 128 MB of memory (memory_mb)" in outcome.text, case


def test_memory_that_processes_share_counts_once(place: Place) -> None:
    content = (
        "import os, time\nx = bytearray(60 * 10**6)\nfor _ in range(6):\n    if os.fork() == 0: break\ntime.sleep(0.5)"
    )
    assert place.one(python(content, memory_mb=128)) == Outcome()


def test_processor_time_is_limited(place: Place) -> None:
    spin = "while :; do :; done"
    for outcome in place.run(bash(spin, cpu_s=1), bash(f"({spin}) & ({spin}) & wait", cpu_s=1)):
        assert outcome.error == "ScriptFailed"
        assert "used more than its 1 s of processor time (cpu_s)" in outcome.text


FILLS = {
    "one file": "head -c 10G /dev/zero >$HOME/file",
    "files": "for n in $(seq 100); do head -c 500K /dev/zero >$HOME/$n || exit 1; done; sleep 60",
    "empty files": "mkdir x; cd x; for n in $(seq 6000); do : >$n; done; sleep 60",
}


def test_the_disk_is_not_filled(place: Place) -> None:
    outcomes = place.run(*(bash(content, file_bytes=5_000_000, cpu_s=20) for content in FILLS.values()))
    for case, outcome in zip(FILLS, outcomes, strict=True):
        assert outcome.error == "ScriptFailed", case
        assert "file_bytes" in outcome.text, case


def test_a_write_path_is_not_filled_by_one_file(place: Place) -> None:
    target = place.out / "large"
    outcome = place.one(bash(f"head -c 10G /dev/zero >{target}", write=[str(place.out)], file_bytes=5_000_000))
    assert outcome.error == "ScriptFailed"
    assert "file_bytes" in outcome.text
    assert target.stat().st_size <= 5_000_000
    target.unlink()


def test_there_is_no_other_memory_to_fill(place: Place) -> None:
    content = """
import ctypes, os
for path in ("/x", "/dev/x", "/dev/shm/x", "/run/x", "/var/tmp/x", "/proc/x", "/etc/x", "/usr/x"):
    try:
        open(path, "w").write("x")
        print("wrote", path)
    except OSError: pass
libc = ctypes.CDLL(None, use_errno=True)
if hasattr(os, "memfd_create"):
    try: os.memfd_create("x"); print("memfd")
    except OSError: pass
if libc.shmget(0, 4096, 0o1600) >= 0: print("shmget")
"""
    assert place.one(python(content)) == Outcome()


def test_a_run_folder_that_resists_is_removed(place: Place) -> None:
    script = """
        mkdir closed && touch closed/file && (chmod 000 closed || true)
        python3 - <<'EOF'
import os
for _ in range(2000):
    os.mkdir("d"); os.chdir("d")
EOF
        ln -s / link
        exit 0
    """
    assert place.one(bash(script)).error in {"", "ScriptFailed"}


# What a script must not see or reach


def test_files_that_are_not_its_business_cannot_be_read(any_place: Place) -> None:
    place = any_place
    (place.out / "private").write_text(CANARY)
    paths = [
        str(place.data / "secret.key"), str(place.out / "private"), "/etc/shadow", "/etc/ssh", "/etc/fstab", "/root", "/home",
        "/var/log", "/run", str(ROOT / "pyproject.toml"), str(place.data), str(place.runs), "/proc/kcore",
    ]  # fmt: skip
    content = f"""
import os
for path in {paths!r}:
    try:
        found = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(100)
    except OSError: continue
    if found: print(path, found)
"""
    assert place.one(python(content)) == Outcome()


def test_the_environment_of_others_cannot_be_read(any_place: Place) -> None:
    content = f"""
import glob, os
mine = open("/proc/self/environ", "rb").read()
for path in [*glob.glob("/proc/[0-9]*/environ"), "/proc/{any_place.process.pid}/environ", "/proc/1/environ"]:
    try: found = open(path, "rb").read()
    except OSError: continue
    if found and found != mine: print(path, found)
for path in [*glob.glob("/proc/[0-9]*/mem"), *glob.glob("/proc/[0-9]*/maps")]:
    pid = int(path.split("/")[2])
    if pid != os.getpid():
        try:
            if open(path, "rb").read(1): print(path)
        except OSError: pass
"""
    outcome = any_place.one(python(content))
    assert CANARY not in outcome.stdout
    if any_place.kind.level is Level.landlock:
        assert outcome.stdout == ""


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, Any]]:
    """Sockets that stand for the broker, the database and the system's services."""
    folder = Path(tempfile.mkdtemp(prefix="test-doors-"))
    folder.chmod(0o755)
    name = f"\0doors-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        unix.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        unix.listen()
        abstract.bind(name)
        abstract.listen()
        yield {
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "unix": str(folder / "socket"),
            "abstract": name,
            "heard": udp,
        }
    shutil.rmtree(folder)


KNOCK = """
import os, socket
def knock(name, family, kind, address):
    try:
        with socket.socket(family, kind) as door:
            door.settimeout(5)
            if kind == socket.SOCK_DGRAM: door.sendto(b"knock", address)
            else: door.connect(address)
        print(name)
    except OSError: pass
knock("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {tcp}))
knock("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", {udp}))
knock("mapped", socket.AF_INET6, socket.SOCK_STREAM, ("::ffff:127.0.0.1", {tcp}))
knock("unix", socket.AF_UNIX, socket.SOCK_STREAM, {unix!r})
knock("abstract", socket.AF_UNIX, socket.SOCK_STREAM, {abstract!r})
for family in (16, 17, 40):  # netlink, packet, vsock
    try: socket.socket(family, socket.SOCK_DGRAM); print("family", family)
    except OSError: pass
socket.socketpair()
print("end")
"""


def test_nothing_can_be_reached_over_the_network(any_place: Place, doors: dict[str, Any]) -> None:
    assert any_place.one(python(KNOCK.format(**doors))) == Outcome(stdout="end\n")
    with pytest.raises(BlockingIOError):
        doors["heard"].recv(100)


def test_with_network_the_network_can_be_reached_and_no_other_socket(any_place: Place, doors: dict[str, Any]) -> None:
    outcome = any_place.one(python(KNOCK.format(**doors), network=True))
    assert [line for line in outcome.stdout.split() if line != "mapped"] == ["tcp", "udp", "family", "16", "end"]
    assert doors["heard"].recv(100) == b"knock"


def test_with_network_names_are_resolved(place: Place) -> None:
    content = "import socket; print(socket.gethostbyname('localhost'))"
    assert place.one(python(content, network=True)) == Outcome(stdout="127.0.0.1\n")


def test_other_processes_cannot_be_signalled_or_slowed(any_place: Place) -> None:
    content = f"""
import ctypes, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
others = [1, os.getppid(), {any_place.process.pid}, {os.getpid()}]
for pid in others:
    for number in (0, signal.SIGCONT):
        try:
            os.kill(pid, number)
            if open(f"/proc/{{pid}}/cmdline").read().find("bwrap") < 0: print("signalled", pid)
        except OSError: pass
    if os.path.exists(f"/proc/{{pid}}/cmdline") and "bwrap" in open(f"/proc/{{pid}}/cmdline").read(): continue
    try: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)); print("limited", pid)
    except OSError: pass
    try: os.sched_setaffinity(pid, {{0}}); print("bound", pid)
    except OSError: pass
    try: os.setpriority(os.PRIO_PROCESS, pid, 19); print("slowed", pid)
    except OSError: pass
    if libc.ptrace(16, pid, 0, 0) == 0: print("traced", pid)
"""
    assert any_place.one(python(content)).stdout == ""
    assert any_place.process.poll() is None
    assert psutil.Process(any_place.process.pid).nice() == psutil.Process().nice()


def test_killing_everything_kills_only_the_script(any_place: Place) -> None:
    outcome = any_place.one(python("import os\ntry: os.kill(-1, 9)\nexcept OSError: pass\nos.kill(os.getppid(), 9)"))
    assert outcome.error in {"", "ScriptFailed"}
    assert any_place.one(bash("echo alive")) == Outcome(stdout="alive\n")


def test_no_further_rights_can_be_had(any_place: Place) -> None:
    script = """
        unshare -Ur true 2>/dev/null && echo user namespace
        unshare -m true 2>/dev/null && echo mount namespace
        mount -t tmpfs none $HOME 2>/dev/null && echo mounted
        chroot / true 2>/dev/null && echo chroot
        su -c true 2>/dev/null </dev/null && echo su
        for program in /usr/bin/passwd /usr/bin/su; do [ -u $program ] && echo present; done | sort -u
        grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr -s '\\t\\n' ' '
    """
    outcome = any_place.one(bash(script))
    assert outcome.stdout.removeprefix("present\n").startswith("CapBnd" if "CapBnd" in outcome.stdout[:6] else "CapEff")
    assert "CapEff: 0000000000000000" in outcome.stdout
    assert "NoNewPrivs: 1" in outcome.stdout


def test_the_rights_of_files_cannot_be_changed(any_place: Place) -> None:
    place = any_place
    targets = [
        "/usr/bin/env",
        "/usr/lib",
        os.path.realpath(sys.executable),
        "/etc/ld.so.cache",
        "/proc/sys/vm/swappiness",
        "/proc/sysrq-trigger",
        "/proc/1/oom_score_adj",
    ]
    # What is tried changes nothing where it succeeds: the modes and contents are those that there are.
    content = f"""
import os
for path in {targets!r}:
    try: there = os.stat(path)
    except OSError: continue
    attempts = [lambda: os.chmod(path, there.st_mode), lambda: os.chown(path, there.st_uid, there.st_gid),
                lambda: os.setxattr(path, "user.x", b""), lambda: os.open(path, os.O_WRONLY)]
    try: fd = os.open(path, os.O_RDONLY)
    except OSError: fd = -1
    attempts += [lambda: os.fchmod(fd, there.st_mode), lambda: os.fchown(fd, there.st_uid, there.st_gid),
                 lambda: os.setxattr(fd, "user.x", b"")]
    for number, attempt in enumerate(attempts):
        try: attempt(); print(path, number)
        except OSError: pass
for folder, _, names in os.walk("/proc/sys"):
    for name in names:
        try: os.open(os.path.join(folder, name), os.O_WRONLY); print(folder, name)
        except OSError: pass
"""
    assert place.one(python(content)) == Outcome()


def test_no_set_uid_file_can_be_made(any_place: Place) -> None:
    place = any_place
    content = f"""
import ctypes, os
os.chdir({str(place.out)!r})
open("x", "w").close()
os.open("plain", os.O_CREAT | os.O_WRONLY, 0o755)
attempts = [lambda: os.chmod("x", 0o4755), lambda: os.fchmod(os.open("x", os.O_RDONLY), 0o4755),
            lambda: os.open("a", os.O_CREAT | os.O_WRONLY, 0o4755), lambda: os.mknod("b", 0o104755),
            lambda: os.chmod("x", 0o2755), lambda: os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o4755)]
for number, attempt in enumerate(attempts):
    try: attempt(); print(number)
    except OSError: pass
libc = ctypes.CDLL(None)
libc.creat(b"c", 0o4755)
libc.syscall(437, -100, b"d", (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4755, 0), 24)
"""
    assert place.one(python(content, write=[str(place.out)])) == Outcome()
    assert sorted(path.name for path in place.out.iterdir() if path.name != "private") == ["plain", "x"]
    assert [path for path in place.out.iterdir() if path.stat().st_mode & 0o6000] == []
    for name in ("x", "plain"):
        (place.out / name).unlink()


# Writing


def test_write_paths_can_be_written_run_after_run_and_nothing_else_can(any_place: Place) -> None:
    place = any_place
    line = place.out / "lines"
    others = [
        str(place.data / "secret.key"), str(place.data / "new"), str(place.folder / "new"), str(place.folder / "home/new"),
        str(ROOT / "new-file-of-a-script"), "/etc/new", "/usr/new", "/usr/local/bin/new", "/new", "/root/new", "/var/tmp/new",
    ]  # fmt: skip
    content = f"""
import os
with open({str(line)!r}, "a") as file: file.write("line\\n")
os.mkdir(os.environ["HOME"] + "/sub")
for path in {others!r}:
    for attempt in (lambda: open(path, "w").write("x"), lambda: os.unlink(path), lambda: os.chmod(path, 0o777),
                    lambda: os.truncate(path, 0), lambda: os.rename(path, path + "2"), lambda: os.mkdir(path)):
        try: attempt(); print(path)
        except OSError: pass
print("end")
"""
    for _ in range(2):
        outcome = place.one(python(content, write=[str(place.out)]))
        written = outcome.stdout.split()
        if place.kind.level is Level.bubblewrap:  # there, all of /tmp is the script's own
            written = [path for path in written if not path.startswith("/tmp/")]
        assert written == ["end"]
        assert [path for path in others if path.endswith("new") and Path(path).exists()] == []
    assert line.read_text() == "line\nline\n"
    assert line.stat().st_uid == place.out.stat().st_uid
    assert (place.data / "secret.key").read_text() == CANARY
    refused = place.one(python(content))
    assert refused.error == "ScriptFailed"
    assert "lines" in refused.text
    line.unlink()


def test_a_write_path_may_be_a_single_file_and_lie_anywhere(place: Place) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="test-sandbox-") as name:
        folder = Path(name)
        file, beside = folder / "file", folder / "beside"
        file.touch()
        for path in (folder, file):
            os.chown(path, place.kind.user, -1)
        folder.chmod(0o755)
        outcome = place.one(bash(f"echo x >{file}; (echo x >{beside}) 2>/dev/null; exit 0", write=[str(file)]))
        assert outcome == Outcome()
        assert file.read_text() == "x\n"
        assert not beside.exists()


def test_a_write_path_that_is_missing_or_forbidden_is_told(place: Place) -> None:
    link = place.out / "link"
    link.symlink_to(place.data)
    missing, data, linked = place.run(
        bash("exit 0", write=[str(place.out / "missing")]),
        bash("exit 0", write=[str(place.data)]),
        bash("exit 0", write=[str(link)]),
    )
    assert "does not exist here; make it" in missing.text
    for outcome in (data, linked):
        assert outcome.error == "ScriptFailed"
        assert "/parameters/write" in outcome.text
        assert "is the data folder" in outcome.text
    link.unlink()


def test_the_owner_of_a_write_path_may_be_another_user(root_place: Place) -> None:
    place = root_place
    folder, file = place.out / "of-nobody", place.out / "of-root"
    folder.mkdir()
    file.touch()
    os.chown(folder, NOBODY, NOBODY)
    assert place.one(bash(f"echo x >{folder}/x", write=[str(folder)])) == Outcome()
    assert (folder / "x").stat().st_uid == NOBODY
    both = place.one(bash("exit 0", write=[str(folder), str(file)]))
    assert "belong to different users" in both.text
    shutil.rmtree(folder)


# In this process


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a data folder and nothing else; no broker is needed here."""
    return load_settings(None, data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")


@pytest.fixture(scope="module", params=[Level.bubblewrap, Level.landlock, Level.off], ids=str)
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox in this process, at each level."""
    settings = load_settings(None, data_dir=tmp_path_factory.mktemp("data"), script_sandbox="off")
    found = detect_sandbox(settings, levels=[request.param] if request.param is not Level.off else [])
    require(found.level is request.param, found.explanation)
    return found


def script(content: str, executor: Executor = "bash") -> Script:
    return Script(name="s", executor=executor, content=content)


async def test_a_cancelled_run_leaves_nothing(sandbox: Sandbox) -> None:
    marker = f"cancelled-{os.getpid()}-{sandbox.level}"
    content = f"setsid python3 -c 'import time; time.sleep(1000)' {marker} & exec -a {marker} sleep 1000"
    task = asyncio.create_task(sandbox.run(script(content), limits=Limits()))
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
    output = await sandbox.run(script("print(6 * 7)", "python"), limits=Limits())
    assert (output.stdout, output.stderr) == (b"42\n", "")
    assert output.seconds > 0


async def test_limits_hold_without_a_sandbox_too(sandbox: Sandbox) -> None:
    marker = f"off-{os.getpid()}-{sandbox.level}"
    with pytest.raises(ScriptTimeout):
        await sandbox.run(
            script(f"setsid python3 -c 'import time; time.sleep(1000)' {marker} & exec -a {marker} sleep 1000"),
            limits=Limits(timeout_s=0.5),
        )
    assert running(marker) == []
    with pytest.raises(ScriptFailed, match="output_bytes"):
        await sandbox.run(script("yes"), limits=Limits(output_bytes=1000))
    with pytest.raises(ScriptFailed, match="memory_mb"):
        await sandbox.run(script("x = bytearray(10**9)", "python"), limits=Limits(memory_mb=64))
    with pytest.raises(ScriptFailed) as raised:
        await sandbox.run(script("echo why >&2; exit 2"), limits=Limits())
    assert raised.value.stderr == "why\n"


async def test_a_killed_launcher_takes_the_script_with_it(sandbox: Sandbox) -> None:
    marker = f"launcher-{os.getpid()}-{sandbox.level}"
    content = f"setsid python3 -c 'import time; time.sleep(1000)' {marker} & exec -a {marker} sleep 1000"
    task = asyncio.create_task(sandbox.run(script(content), limits=Limits()))
    while len(running(marker)) < 2:
        await asyncio.sleep(0.05)
        assert not task.done()
    for child in psutil.Process().children():
        if "notifier.sandbox.launcher" in " ".join(child.cmdline()):
            child.kill()
    with pytest.raises(ScriptFailed, match="from outside"):
        await task
    wait_for(lambda: not running(marker))


async def test_secrets_that_are_too_large_are_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ScriptFailed, match="larger than"):
        await sandbox.run(script("exit 0"), limits=Limits(), secrets={"A": "x" * 100_000})


async def test_the_interpreter_may_be_our_own(settings: Settings) -> None:
    own = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for level in (Level.bubblewrap, Level.landlock):
        sandbox = detect_sandbox(settings, levels=[level], python=own)
        require(sandbox.level is level, sandbox.explanation)
        output = await sandbox.run(script("import json, sys; print(sys.executable)", "python"), limits=Limits())
        assert output.stdout.decode().strip() == str(own.resolve())
        output = await sandbox.run(script("echo $PATH"), limits=Limits())
        assert str(own.resolve().parent) in output.stdout.decode().strip().split(":")


async def test_without_a_possible_level_scripts_are_refused(settings: Settings) -> None:
    sandbox = detect_sandbox(settings, levels=[])
    assert sandbox.level is Level.none
    with pytest.raises(SandboxUnavailable, match=r"scripts are refused.*NOTIFIER_SCRIPT_SANDBOX=off"):
        await sandbox.run(script("exit 0"), limits=Limits())


def test_without_bwrap_the_explanation_says_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox = detect_sandbox(settings)
    assert sandbox.level in {Level.landlock, Level.none}
    assert "bubblewrap: bwrap is not installed" in sandbox.explanation
    assert "\n" not in sandbox.explanation
    refused = detect_sandbox(settings, landlock_version=0)
    assert refused.level is Level.none
    assert "landlock: this kernel does not offer it" in refused.explanation


def test_off_is_said_aloud_and_only_where_nothing_else_is_possible(tmp_path: Path) -> None:
    settings = load_settings(None, data_dir=tmp_path, script_sandbox="off")
    assert detect_sandbox(settings, levels=[]).level is Level.off
    assert "WITHOUT A SANDBOX" in detect_sandbox(settings, levels=[]).explanation
    best = detect_sandbox(settings)
    require(shutil.which("bwrap") or landlock.version(), "no sandbox is possible here")
    assert best.level in {Level.bubblewrap, Level.landlock}


def test_a_data_folder_that_scripts_could_read_is_refused() -> None:
    sandbox = detect_sandbox(load_settings(None, data_dir=Path("/usr/share/notifier")))
    assert sandbox.level is Level.none
    assert "the data folder /usr/share/notifier lies in /usr" in sandbox.explanation
    assert "NOTIFIER_DATA_DIR" in sandbox.explanation


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/", "is the system's"),
        ("/etc", "is the system's"),
        ("/etc/cron.d", "lies in /etc"),
        ("/usr/local/bin", "lies in /usr"),
        ("/proc/self", "lies in /proc"),
        ("/sys", "is the system's"),
        ("/dev/shm", "lies in /dev"),
        ("/srv/../etc", "must be an absolute path"),
        ("/srv/\0", "must be an absolute path"),
        ("relative/path", "must be an absolute path"),
        ("{data}", "is the data folder"),
        ("{data}/kafka", "lies in"),
        ("{parent}", "holds"),
        ("{cache}", "is the folder of downloads"),
        ("{link}", "is the data folder"),
        (str(ROOT), "holds Notifier itself"),
        (str(ROOT / "notifier"), "holds Notifier itself"),
        (sys.prefix, "holds Notifier itself"),
        (str(Path(tempfile.gettempdir())), "is where all scripts have their work folders"),
    ],
)
def test_forbidden_write_paths_are_refused(settings: Settings, tmp_path: Path, path: str, reason: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(settings.data_dir)
    path = path.format(data=settings.data_dir, parent=tmp_path, cache=settings.cache_dir, link=link)
    with pytest.raises(InputError, match="/parameters/write") as raised:
        check_write_paths(settings, [Path("/srv/out"), Path(path)])
    assert reason in str(raised.value)
    assert len(raised.value.errors) == 1


def test_other_write_paths_are_allowed(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    check_write_paths(settings, [Path("/srv/out"), Path("/var/spool/out"), tmp_path / "out", tmp_path / "circle"])
