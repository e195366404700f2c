"""Views: what a script finds when it runs, laid out as an order for the launcher.

At every level but `off`:

- The system's programs and libraries (/usr and the like) and a few harmless files of /etc, read-only. Never the data
  folder, the installation, home folders, /run, /var, /root. `df /`, `free`, `uptime` and `find /usr` tell the truth about
  this machine; under bubblewrap `ps` shows the script's own processes only.
- Its work folder, which is also HOME and TMPDIR, at most `ScriptLimits.file_bytes` large, removed afterwards; and the paths
  of `ScriptLimits.write`.
- No sockets, except internet ones with `ScriptLimits.network`.
- The environment variables PATH, HOME, LANG and TMPDIR, and those that the caller gives. Secrets come as one JSON object,
  `{"NAME": "value"}`, on file descriptor 3, which is open only if there are any. In Python: `json.load(open(3))`; in bash:
  `secrets=$(cat <&3)`.

Which user the script runs as is `notifier.sandbox.start`'s to say.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from notifier.sandbox.interpreters import Interpreter, environment
from notifier.sandbox.level import Level
from notifier.sandbox.limits import ScriptLimits
from notifier.sandbox.machine import Machine
from notifier.sandbox.paths import ETC, ETC_NETWORK, SYSTEM
from notifier.script import Script

if TYPE_CHECKING:
    from notifier.sandbox.order import LaunchOrder

# Files that take the place of the machine's own in /etc under bubblewrap.
_ETC_CONTENT: Final = {
    "passwd": "nobody:x:65534:65534:nobody:/tmp:/bin/sh\n",
    "group": "nogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_DEVICES: Final = ("/dev/full", "/dev/random", "/dev/urandom", "/dev/zero")  # under Landlock; /dev/null is writable
_NOBODY: Final = "65534"
_TMP: Final = "/tmp"  # noqa: S108 - the script's own under bubblewrap


@dataclass(frozen=True, kw_only=True)
class ScriptRun:
    """One run of a script: what is run, under which limits, and for which user."""

    script: Script
    interpreter: Interpreter
    limits: ScriptLimits
    user: str  # as in LaunchOrder
    more: Mapping[str, str] = field(default_factory=dict)  # variables besides those that every script has


def lay_out(machine: Machine, level: Level, run: ScriptRun, folder: Path) -> "LaunchOrder":
    """Fills the run's folder with the files that the level needs, and says how to start the script."""
    order: LaunchOrder = {
        "level": level.value,
        "folder": str(folder),
        "command": [],
        "environment": {},
        "work": "/",
        "user": run.user,
        "read": [],
        "write": [],
        "network": run.limits.network,
        "abi": machine.landlock_version,
        "parent": os.getpid(),
        "timeout_s": run.limits.timeout_s,
        "memory_mb": run.limits.memory_mb,
        "cpu_s": run.limits.cpu_s,
        "processes": run.limits.processes,
        "file_bytes": run.limits.file_bytes,
        "open_files": run.limits.open_files,
    }
    if level is Level.bubblewrap:
        order["command"] = _bubblewrap(machine, run, folder)
        return order
    place, work = folder / "script", folder / "work"
    place.write_text(run.script.content, encoding="utf-8")
    place.chmod(0o440)
    work.mkdir(0o700)
    order["command"] = [run.interpreter.path, *run.interpreter.options, str(place)]
    order["environment"] = _variables(machine, run, str(work))
    order["work"] = str(work)
    if level is Level.landlock:
        names = (*ETC, *ETC_NETWORK, "nsswitch.conf") if run.limits.network else (*ETC, "nsswitch.conf")
        order["read"] = [
            *SYSTEM,
            *machine.prefixes,
            *(f"/etc/{name}" for name in names),
            "/proc",
            *_DEVICES,
            str(place),
        ]
        order["read"] += map(str, run.limits.tools)
        order["write"] = [str(work), "/dev/null", *map(str, run.limits.write)]
    return order


def _variables(machine: Machine, run: ScriptRun, home: str) -> dict[str, str]:
    """The environment variables of the script. Programs among its tools are found on PATH."""
    found = environment(home, machine.interpreters)
    folders = dict.fromkeys(str(path if path.is_dir() else path.parent) for path in run.limits.tools)
    return {**found, "PATH": ":".join([found["PATH"], *folders]), **run.more}


def _bubblewrap(machine: Machine, run: ScriptRun, folder: Path) -> list[str]:
    """The command line of bwrap, and an empty root folder with places in it to mount what the script may see."""
    # The root is a real folder and not bwrap's own memory, so that `df /` tells of this machine's disk; read-only and
    # complete beforehand, so that nothing can be added to it.
    root = folder / "root"
    for name in ("dev", "etc", "proc", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "script").write_text(run.script.content, encoding="utf-8")
    for name, content in _ETC_CONTENT.items():
        (root / "etc" / name).write_text(content, encoding="utf-8")
    limits = run.limits
    command = [machine.bwrap, "--unshare-all", "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY]
    if limits.network:
        command.append("--share-net")
    command += ["--hostname", os.uname().nodename, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--ro-bind", str(root), "/"]
    command += _read_only(machine, root, network=limits.network)
    # Read-only too: root may write the kernel's settings in /proc/sys even without a capability, and the user nobody of
    # a script is root outside if its write path is root's. /dev is a file system in memory without a limit of size.
    command += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    command += ["--size", str(limits.file_bytes), "--tmpfs", _TMP]
    for path in limits.write:
        if not path.is_relative_to(_TMP):  # there bwrap makes the place itself
            _mount_point(root, str(path), is_dir=path.is_dir())
        command += ["--bind", str(path.resolve()), str(path)]
    for path in limits.tools:
        if not path.is_relative_to(_TMP):
            _mount_point(root, str(path), is_dir=path.is_dir())
        command += ["--ro-bind", str(path.resolve()), str(path)]
    command += ["--chdir", _TMP, "--clearenv"]
    for name, value in _variables(machine, run, _TMP).items():
        command += ["--setenv", name, value]
    return [*command, "--", run.interpreter.path, *run.interpreter.options, "/script"]


def _read_only(machine: Machine, root: Path, *, network: bool) -> list[str]:
    """bwrap's options for what the script sees of the machine's own files, and the places to mount them."""
    options: list[str] = []
    for system in SYSTEM:
        source = Path(system)
        if source.is_symlink():
            (root / system[1:]).symlink_to(source.readlink())
        elif source.is_dir():
            _mount_point(root, system, is_dir=True)
            options += ["--ro-bind", system, system]
    for prefix in machine.prefixes:
        _mount_point(root, prefix, is_dir=True)
        options += ["--ro-bind", prefix, prefix]
    for name in (*ETC, *ETC_NETWORK) if network else ETC:
        source = Path("/etc", name)
        if source.exists():
            _mount_point(root, str(source), is_dir=source.is_dir())
            options += ["--ro-bind", str(source.resolve()), str(source)]
    return options


def _mount_point(root: Path, path: str, *, is_dir: bool) -> None:
    place = root / path.lstrip("/")
    if is_dir:
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
