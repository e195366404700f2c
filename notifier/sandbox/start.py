"""Start: the folder of a run, the user it runs as, the launcher and its pipes. What comes after is `talk`'s, beside this file.

Where Notifier runs as root, each run has a user of its own, which no other process has. With `write` it is the owner of those
paths instead (root then without a single capability), so that the script may write to them and a later run may go on with
its files. Where Notifier does not run as root the user is Notifier's. Under Landlock a script that shares its user with other
processes cannot change modes and owners, not even of its own files.
"""

import marshal
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from notifier.errors import InputError, SandboxUnavailable, ScriptBroken, ScriptFailed
from notifier.sandbox import launcher
from notifier.sandbox.interpreters import Interpreter
from notifier.sandbox.level import Level
from notifier.sandbox.limits import ScriptLimits
from notifier.sandbox.machine import Machine
from notifier.sandbox.paths import check_write_paths, find_tools
from notifier.sandbox.views import ScriptRun, lay_out
from notifier.script import Script

_MAX_SECRETS_BYTES: Final = 16 * 1024  # that a pipe holds on every system without a reader


@dataclass(frozen=True, kw_only=True)
class Running:
    """A script that was started."""

    process: "subprocess.Popen[bytes]"  # the launcher, with the pipes of the script
    control: socket.socket  # to the launcher: closing it ends the script; a Status comes from it
    folder: str  # the run's own


def start(
    machine: Machine,
    level: Level,
    script: Script,
    limits: ScriptLimits,
    secrets: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Makes the run's folder and starts the launcher. Raises ScriptFailed or SandboxUnavailable.

    `environment` has more variables of the script.
    """
    interpreter = machine.interpreters.get(script.executor)
    if interpreter is None:
        raise ScriptBroken(f"script {script.name!r} needs {script.executor}, which is not installed here")
    told = msgspec.json.encode(dict(secrets)) if secrets else b""
    if len(told) > _MAX_SECRETS_BYTES:
        raise ScriptFailed(f"the secrets of script {script.name!r} are larger than {_MAX_SECRETS_BYTES} bytes together")
    try:
        limits = replace(limits, tools=_tools(machine, script, limits.tools))
        _check_write(machine, script, limits.write)
        user = _user(machine, level, script, interpreter, limits.write)
        run = ScriptRun(script=script, interpreter=interpreter, limits=limits, user=user, more=environment or {})
        with ExitStack() as undo:
            folder = tempfile.mkdtemp(prefix="notifier-script-", dir=machine.scratch)
            undo.callback(launcher.remove, folder)
            order = lay_out(machine, level, run, Path(folder))
            Path(folder, "order").write_bytes(marshal.dumps(dict(order)))
            running = _start_launcher(folder, told)
            undo.pop_all()
    except OSError as error:
        raise SandboxUnavailable(f"script {script.name!r} could not be started: {error}") from None
    return running


def _start_launcher(folder: str, told: bytes) -> Running:
    """Starts the launcher, which reads `order` in the folder. `told` is for the script's descriptor 3; empty: it is shut."""
    with ExitStack() as undo:
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        passed = [theirs.fileno()]
        with theirs, ExitStack() as closing:
            secrets_fd = -1
            if told:
                secrets_fd, writing = os.pipe()
                closing.callback(os.close, secrets_fd)
                os.write(writing, told)
                os.close(writing)
                passed.append(secrets_fd)
            boot = [sys.executable, "-I", "-S", "-c", launcher.BOOT, str(Path(launcher.__file__).parent)]
            process = subprocess.Popen(
                [*boot, folder, str(passed[0]), str(secrets_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=passed,
                env={},
                cwd="/",
                start_new_session=True,
            )
        undo.pop_all()
    return Running(process=process, control=ours, folder=folder)


def _tools(machine: Machine, script: Script, tools: Sequence[Path]) -> tuple[Path, ...]:
    try:
        return find_tools(machine.settings, tools)
    except InputError as error:
        raise ScriptFailed(f"script {script.name!r} was not started: {error}") from None


def _check_write(machine: Machine, script: Script, write: Sequence[Path]) -> None:
    try:
        check_write_paths(machine.settings, write)
    except InputError as error:
        raise ScriptFailed(f"script {script.name!r} was not started: {error}") from None
    for path in write:
        if not path.exists():
            raise ScriptFailed(
                f"script {script.name!r} was not started: {path}, of its `write`, does not exist here; make it"
            )


def _user(machine: Machine, level: Level, script: Script, interpreter: Interpreter, write: Sequence[Path]) -> str:
    """The user that the script runs as, in the words of LaunchOrder. Raises ScriptFailed."""
    us = os.geteuid()
    if us != 0 or level is Level.off:
        return "keep"
    owners = {path.stat().st_uid: path.stat().st_gid for path in write}
    if interpreter.private:
        owners[us] = os.getegid()
    if not owners:
        return "own" if machine.own_user else "keep"
    if len(owners) > 1:
        raise ScriptFailed(
            f"script {script.name!r} was not started: the paths of its `write` belong to different users,"
            " or the interpreter is root's alone; give them one owner, or install python3 for all (in /usr/bin)"
        )
    [(owner, group)] = owners.items()
    return "keep" if owner == us else f"{owner}:{group}"
