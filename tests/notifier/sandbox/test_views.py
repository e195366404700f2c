"""What a script is given: input, environment, secrets, a true sight of the machine, a user of its own."""

import json
import os
import shutil
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.rigs.sandboxes import CANARY, NOBODY, Outcome, Place, bash, python


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
        deadline = time.monotonic() + 120
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
