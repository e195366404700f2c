"""Detection: which level is possible here, found once by trying, strongest first."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from notifier.errors import ScriptError
from notifier.sandbox import landlock, seccomp
from notifier.sandbox.interpreters import SEARCH, find_interpreters
from notifier.sandbox.level import Level
from notifier.sandbox.limits import ScriptLimits
from notifier.sandbox.machine import Machine
from notifier.sandbox.paths import exposed_data, scratch_folder
from notifier.sandbox.sandbox import Sandbox
from notifier.sandbox.start import start
from notifier.sandbox.talk import GRACE_S, STATUS_BYTES, status_of
from notifier.sandbox.verdict import last_line
from notifier.script import Script
from notifier.settings import Settings, variable

# A probe tries to read the order of its own run, which no script may, and ends with this status if it could.
_BROKE_OUT: Final = 9
_PROBE: Final = f'if {{ : <"${{0%/*}}/order"; }} 2>/dev/null; then exit {_BROKE_OUT}; fi'
_PROBE_PYTHON: Final = (
    "import os, sys\n"
    "try: open(os.path.dirname(sys.argv[0]) + '/order')\n"
    "except OSError: sys.exit(0)\n"
    f"sys.exit({_BROKE_OUT})\n"
)
_PROBE_LIMITS: Final = ScriptLimits(timeout_s=5.0)


def detect_sandbox(
    settings: Settings,
    *,
    levels: Sequence[Level] = (Level.bubblewrap, Level.landlock),
    python: Path | None = None,
    landlock_version: int | None = None,
) -> Sandbox:
    """Finds the strongest sandbox that works here, by running a small script in it; well below a second.

    `levels` are those to try, in this order; `python` is the interpreter for scripts in place of the system's;
    `landlock_version` is the newest version of Landlock to use. The answer does not change while the process runs, so
    keep it.
    """
    machine = Machine(
        settings=settings,
        interpreters=find_interpreters(python),
        landlock_version=min(landlock.version(), sys.maxsize if landlock_version is None else landlock_version),
        scratch=scratch_folder(),
    )
    reasons: list[str] = []
    for level in levels:
        problem: str | None = None
        for own_user in (True, False) if os.geteuid() == 0 else (False,):
            tried = replace(machine, own_user=own_user)
            if level is Level.bubblewrap:
                tried = replace(tried, bwrap=shutil.which("bwrap") or "")
            problem = _missing(tried, level) or _problem(tried, level)
            if problem is None:
                return Sandbox(level=level, explanation=_explanation(tried, level, reasons), machine=tried)
        reasons.append(f"{level.value}: {problem}")
    why = "; ".join(reasons) or "no level was to be tried"
    setting = variable("script_sandbox")
    if settings.script_sandbox == "off":
        text = f"scripts run WITHOUT A SANDBOX and may do all that Notifier may, because {setting}=off ({why})"
        return Sandbox(level=Level.off, explanation=text, machine=machine)
    text = (
        f"scripts are refused, because no sandbox is possible here ({why});"
        f" install bubblewrap and allow user namespaces, or use Linux with Landlock;"
        f" {setting}=off runs scripts without protection"
    )
    return Sandbox(level=Level.none, explanation=text, machine=machine)


def _missing(machine: Machine, level: Level) -> str | None:
    """What the machine lacks for the level, as far as it can be seen without trying."""
    if not sys.platform.startswith("linux"):
        return "only on Linux"
    if not machine.interpreters:
        return f"neither bash nor python3 is in {', '.join(SEARCH)}"
    exposed = exposed_data(machine.settings, machine.prefixes)
    if exposed:
        return exposed
    if level is Level.bubblewrap:
        return None if machine.bwrap else "bwrap is not installed (Debian and Ubuntu: apt install bubblewrap)"
    if level is not Level.landlock:
        return "is not a level that can be tried"
    if machine.landlock_version == 0:
        return "this kernel does not offer it (Linux 5.13 or newer, with landlock among its security modules)"
    if not seccomp.machine_known():
        return f"without a filter of system calls, which is not written for {os.uname().machine}, UDP stays open"
    return None


def _problem(machine: Machine, level: Level) -> str | None:
    """Why the level does not work here, found by running a probe in it; None if it works."""
    problem = _probe(machine, level)
    if problem is not None and level is Level.bubblewrap:
        problem += " (bwrap needs user namespaces, which sysctls, AppArmor or a container's seccomp profile may forbid)"
    return problem


def _probe(machine: Machine, level: Level) -> str | None:
    """Runs a script that only tries to break out; why this sandbox does not hold, or None."""
    script = (
        Script(name="probe", executor="bash", content=_PROBE)
        if "bash" in machine.interpreters
        else Script(name="probe", executor="python", content=_PROBE_PYTHON)
    )
    try:
        running = start(machine, level, script, _PROBE_LIMITS, {})
        with running.control, running.process:
            try:
                _, stderr = running.process.communicate(timeout=_PROBE_LIMITS.timeout_s + GRACE_S)
            except subprocess.TimeoutExpired:
                running.process.kill()
                raise
            status = status_of(running.control.recv(STATUS_BYTES)) or {}
    except ScriptError as error:
        return str(error).partition(": ")[2] or str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if status.get("ended") == "exit" and status["code"] == 0:
        return None
    if status.get("ended") == "exit" and status["code"] == _BROKE_OUT:
        return "a script could read what it must not"
    said = last_line(stderr.decode(errors="replace"))
    return status.get("error") or said or f"the probe ended with {dict(status)}"


def _explanation(machine: Machine, level: Level, reasons: Sequence[str]) -> str:
    """One line for people: the level that was reached, and why not a better one."""
    users = "each as a user of its own" if machine.own_user else "all as the user that Notifier runs as"
    text = f"scripts run in {level.value}, {users}"
    if level is Level.landlock:
        text = f"scripts run under Landlock (version {machine.landlock_version}), {users}"
        if machine.landlock_version < landlock.SCOPES_SINCE and not machine.own_user:
            text += "; before Linux 6.12 they may send no signals, `kill` and `timeout` in them fail"
    elif not seccomp.machine_known():
        text += f"; without a filter of system calls, which is not written for {os.uname().machine}"
    if reasons:
        text += f"; nothing stronger, because {'; '.join(reasons)}"
        if any("ermi" in reason or "namespace" in reason for reason in reasons):  # "Permission denied", "not permitted"
            text += (
                " (allow user namespaces: sysctl kernel.unprivileged_userns_clone or your container's seccomp profile)"
            )
    return text
