"""What a script must not see or reach: files, other processes, the network, further rights."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from notifier.sandbox import Level
from tests.rigs.repository import ROOT
from tests.rigs.sandboxes import CANARY, Outcome, Place, bash, python


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
