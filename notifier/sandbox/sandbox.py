"""The sandbox: how scripts run without doing harm, what they see, what they may use, and what they get to know.

The level is found out once, by trying (`detect_sandbox`), strongest first; there is no silent step down:

    bubblewrap   namespaces of its own: files, processes, network; a read-only system, nothing else of this machine's files
    landlock     no namespaces (as in most containers): the kernel refuses other files, sockets, signals to others
    off          only limits and the kill; only where none of the above is possible and NOTIFIER_SCRIPT_SANDBOX=off
    none         scripts are refused

What a script finds at every level but `off`:

- The system's programs and libraries (/usr and the like) and a few harmless files of /etc, read-only. Never the data
  folder, the installation, home folders, /run, /var, /root. `df /`, `free`, `uptime` and `find /usr` tell the truth about
  this machine; under bubblewrap `ps` shows the script's own processes only.
- Its work folder, which is also HOME and TMPDIR, at most `Limits.file_bytes` large, removed afterwards; and the paths of
  `Limits.write`.
- No sockets, except internet ones with `Limits.network`.
- The environment variables PATH, HOME, LANG and TMPDIR. Secrets come as one JSON object, `{"NAME": "value"}`, on file
  descriptor 3, which is open only if there are any. In Python: `json.load(open(3))`; in bash: `secrets=$(cat <&3)`.
- A user that is nobody else, where Notifier runs as root: each run its own. With `write` it is the user who owns those
  paths instead (root then without a single capability), so that it may write to them and a later run may go on with its
  files. Where Notifier does not run as root the user is Notifier's. Under Landlock a script that shares its user with
  something else cannot change modes and owners, not even of its own files.

When the script's first process ends, everything it started is killed: a script cannot leave anything running.

What may change a stored script, or give it `write` and `network`, is the control API's to decide.
"""

import asyncio
import marshal
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import psutil

from notifier.errors import FieldError, InputError, SandboxUnavailable, ScriptError, ScriptFailed, ScriptTimeout
from notifier.sandbox import landlock, launcher
from notifier.script import Executor, Script
from notifier.settings import Settings, variable

if TYPE_CHECKING:
    from notifier.sandbox.launcher import Plan, Status

_MIB = 1024 * 1024


class Level(StrEnum):
    """How well scripts are shut in on this machine."""

    bubblewrap = "bubblewrap"  # namespaces, by the program bwrap
    landlock = "landlock"  # rules of the kernel, without namespaces
    off = "off"  # not at all, on purpose
    none = "none"  # no way to; scripts are refused


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one run of a script may use, and what it is allowed beyond the rule."""

    timeout_s: float = 30.0  # by the clock on the wall
    memory_mb: int = 256  # all its processes together; a single one may reserve twice that
    cpu_s: int = 30  # processor time of all its processes together
    processes: int = 64  # at the same time
    output_bytes: int = 10 * _MIB  # of standard output, and again of standard error
    line_bytes: int = 10 * _MIB  # longest line of standard output; a JSON array may well be one line
    stderr_bytes: int = 64 * 1024  # end of standard error that is kept
    file_bytes: int = 64 * _MIB  # its work folder, and any single file it writes
    open_files: int = 256  # of each process
    network: bool = False  # whether it may use the network
    write: tuple[Path, ...] = ()  # files and folders that it may write to; see `check_write_paths`


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a script that succeeded has printed."""

    stdout: bytes
    stderr: str  # the end of it, with every secret replaced by ***
    seconds: float  # how long it ran, start and end included


# Folders with programs and libraries that every script may read; those that exist.
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
# Files and folders of /etc without which programs do not start, resolve names or check certificates.
_ETC: Final = (
    "alternatives",
    "ca-certificates/extracted",
    "crypto-policies",
    "hostname",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "os-release",
    "pki/ca-trust/extracted",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
_ETC_NETWORK: Final = ("gai.conf", "host.conf", "hosts", "resolv.conf")
# What takes the place of the machine's own files in /etc under bubblewrap.
_ETC_CONTENT: Final = {
    "passwd": "nobody:x:65534:65534:nobody:/tmp:/bin/sh\n",
    "group": "nogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_DEVICES: Final = ("/dev/full", "/dev/random", "/dev/urandom", "/dev/zero")  # under Landlock; /dev/null is writable
_SEARCH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_NOBODY: Final = "65534"

# Never writable for a script, nor anything in them.
_NEVER_WRITABLE: Final = (*_SYSTEM, "/boot", "/dev", "/etc", "/nix", "/proc", "/run", "/sys", "/var/run")

_GRACE_S = 15.0  # the launcher keeps the time; this much later it is taken for dead
_MAX_SECRETS_BYTES = 16 * 1024  # what a pipe holds on every system without anybody reading
_PROBE = 'if { : <"${0%/*}/plan"; } 2>/dev/null; then exit 9; fi'  # what a script must never be able to do
_PROBE_PYTHON = (
    "import os, sys\ntry: open(os.path.dirname(sys.argv[0]) + '/plan')\nexcept OSError: sys.exit(0)\nsys.exit(9)\n"
)


def check_write_paths(settings: Settings, paths: Sequence[Path]) -> None:
    """Refuses paths that no script may write to: the system's, Notifier's own, and whatever holds or lies in those.

    Symlinks are followed. A path need not exist here: the script may run on another machine, and is checked again there.
    Raises InputError, which names `/parameters/write`.
    """
    forbidden = [(Path(path), "is the system's") for path in ("/", *_NEVER_WRITABLE)]
    forbidden += [(path, "holds Notifier itself") for path in _installation()]
    forbidden += [
        (settings.data_dir, "is the data folder"),
        (settings.cache_dir, "is the folder of downloads"),
        (Path(tempfile.gettempdir()), "is where all scripts have their work folders"),
    ]
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises for a user without one
    if home != "~":
        forbidden.append((Path(home), "is a home folder"))
    errors = []
    for path in paths:
        plain = path.is_absolute() and ".." not in path.parts and "\0" not in str(path)
        problem = _conflict(path, forbidden) if plain else "must be an absolute path without `..`"
        if problem:
            errors.append(FieldError("/parameters/write", f"{path} {problem}; name a folder that is for this alone"))
    if errors:
        raise InputError(errors)


def _installation() -> list[Path]:
    return [Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix)]


# In these a script may be given a folder, only not the whole.
_PARTS_ALLOWED: Final = ("is where all scripts have their work folders", "is a home folder")


def _conflict(path: Path, forbidden: Sequence[tuple[Path, str]]) -> str | None:
    """Why a script may not write to the path, as it is written and as it is when symlinks are followed."""
    # Not Path.resolve(), which raises for symlinks that lead in a circle.
    names = {path, Path(os.path.realpath(path))}
    places = [
        (known, reason) for place, reason in forbidden for known in {place.absolute(), Path(os.path.realpath(place))}
    ]
    for known, reason in places:
        if known in names:
            return reason
    for known, reason in places:
        for name in names:
            if known.is_relative_to(name):
                return f"holds {known}, which {reason}"
            if name.is_relative_to(known) and known != Path("/") and reason not in _PARTS_ALLOWED:
                return f"lies in {known}, which {reason}"
    return None


@dataclass(frozen=True, kw_only=True)
class _Interpreter:
    """What runs scripts of one kind."""

    path: str
    options: tuple[str, ...] = ()
    prefix: str | None = None  # its folder, where that is none that scripts can read anyway
    private: bool = False  # whether other users cannot get at it


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Runs scripts, shut in as well as this machine allows. Made by `detect_sandbox`; may be shared and kept."""

    level: Level
    explanation: str  # one line: the level, why it is no better, and what would make it better
    _settings: Settings | None = field(default=None, repr=False)
    _interpreters: Mapping[Executor, _Interpreter] = field(default_factory=dict, repr=False)
    _own_user: bool = field(default=False, repr=False)  # whether each run gets a user of its own
    _bwrap: str = field(default="", repr=False)
    _abi: int = field(default=0, repr=False)  # version of Landlock
    _scratch: str = field(default="", repr=False)  # folder that the folders of runs are made in

    async def run(
        self, script: Script, *, stdin: bytes = b"", limits: Limits, secrets: Mapping[str, str] | None = None
    ) -> Output:
        """Runs a script once and answers what it printed. Whatever happens, nothing of it is left when this returns.

        `secrets` reach the script on file descriptor 3 as one JSON object, and nothing and nobody else. Cancelling ends
        the script like a limit does. Raises SandboxUnavailable if it could not be started, ScriptTimeout after
        `limits.timeout_s`, ScriptFailed for an exit status that is not 0 and for every other limit. Nothing is repeated:
        a script that was killed may have done part of its work.
        """
        started = time.monotonic()
        running = self._launch(script, limits, secrets or {})
        talk = _Talk(running, stdin, limits)
        try:
            await asyncio.wait([talk.ended], timeout=limits.timeout_s + _GRACE_S)
        finally:
            await talk.close()
        stderr = _redact(talk.stderr.text(), secrets or {})
        self._judge(script, limits, talk, stderr)
        return Output(stdout=bytes(talk.stdout.kept), stderr=stderr, seconds=time.monotonic() - started)

    # starting

    def _launch(self, script: Script, limits: Limits, secrets: Mapping[str, str]) -> "_Running":
        """Makes the run's folder and starts the launcher. Raises ScriptError."""
        if self.level is Level.none or self._settings is None:
            raise SandboxUnavailable(self.explanation)
        interpreter = self._interpreters.get(script.executor)
        if interpreter is None:
            raise SandboxUnavailable(f"script {script.name!r} needs {script.executor}, which is not installed here")
        told = msgspec.json.encode(dict(secrets)) if secrets else b""
        if len(told) > _MAX_SECRETS_BYTES:
            raise ScriptFailed(
                f"the secrets of script {script.name!r} are larger than {_MAX_SECRETS_BYTES} bytes together"
            )
        try:
            self._check_write(script, limits.write)
            user = self._user(script, interpreter, limits.write)
            with ExitStack() as undo:
                folder = tempfile.mkdtemp(prefix="notifier-script-", dir=self._scratch)
                undo.callback(launcher.remove, folder)
                view = self._bubblewrap if self.level is Level.bubblewrap else self._plain
                plan = view(Path(folder), script, interpreter, limits)
                plan["user"] = user
                Path(folder, "plan").write_bytes(marshal.dumps(dict(plan)))
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
        except OSError as error:
            raise SandboxUnavailable(f"script {script.name!r} could not be started: {error}") from None
        return _Running(process=process, control=ours, folder=folder)

    def _check_write(self, script: Script, write: Sequence[Path]) -> None:
        assert self._settings is not None
        try:
            check_write_paths(self._settings, write)
        except InputError as error:
            raise ScriptFailed(f"script {script.name!r} was not started: {error}") from None
        for path in write:
            if not path.exists():
                raise ScriptFailed(
                    f"script {script.name!r} was not started: {path}, of its `write`, does not exist here; make it"
                )

    def _user(self, script: Script, interpreter: _Interpreter, write: Sequence[Path]) -> str:
        """Whom the script runs as, in the words of the launcher's plan."""
        us = os.geteuid()
        if us != 0 or self.level is Level.off:
            return "keep"
        owners = {path.stat().st_uid: path.stat().st_gid for path in write}
        if interpreter.private:
            owners[us] = os.getegid()
        if not owners:
            return "own" if self._own_user else "keep"
        if len(owners) > 1:
            raise ScriptFailed(
                f"script {script.name!r} was not started: the paths of its `write` belong to different users,"
                " or the interpreter is root's alone; give them one owner, or install python3 for all (in /usr/bin)"
            )
        [(owner, group)] = owners.items()
        return "keep" if owner == us else f"{owner}:{group}"

    def _plan(self, folder: Path, limits: Limits) -> "Plan":
        return {
            "level": self.level.value,
            "folder": str(folder),
            "command": [],
            "environment": {},
            "work": "/",
            "user": "keep",
            "read": [],
            "write": [],
            "network": limits.network,
            "abi": self._abi,
            "parent": os.getpid(),
            "timeout_s": limits.timeout_s,
            "memory_mb": limits.memory_mb,
            "cpu_s": limits.cpu_s,
            "processes": limits.processes,
            "file_bytes": limits.file_bytes,
            "open_files": limits.open_files,
        }

    def _plain(self, folder: Path, script: Script, interpreter: _Interpreter, limits: Limits) -> "Plan":
        """Lays out a run that sees the machine's own files: under Landlock those that are left to it, with `off` all."""
        place, work = folder / "script", folder / "work"
        place.write_text(script.content, encoding="utf-8")
        place.chmod(0o440)
        work.mkdir(0o700)
        plan = self._plan(folder, limits)
        plan["command"] = [interpreter.path, *interpreter.options, str(place)]
        plan["environment"] = _environment(str(work), self._interpreters)
        plan["work"] = str(work)
        if self.level is Level.landlock:
            names = (*_ETC, *_ETC_NETWORK, "nsswitch.conf") if limits.network else (*_ETC, "nsswitch.conf")
            plan["read"] = [
                *_SYSTEM,
                *self._prefixes(),
                *(f"/etc/{name}" for name in names),
                "/proc",
                *_DEVICES,
                str(place),
            ]
            plan["write"] = [str(work), "/dev/null", *map(str, limits.write)]
        return plan

    def _bubblewrap(self, folder: Path, script: Script, interpreter: _Interpreter, limits: Limits) -> "Plan":
        """Lays out a run in namespaces: an empty root folder with places in it to mount what the script may see."""
        # The root is a real folder and not bwrap's own memory, so that `df /` tells of this machine's disk; read-only and
        # complete beforehand, so that nothing can be added to it.
        root = folder / "root"
        for name in ("dev", "etc", "proc", "tmp"):
            (root / name).mkdir(parents=True)
        (root / "script").write_text(script.content, encoding="utf-8")
        for name, content in _ETC_CONTENT.items():
            (root / "etc" / name).write_text(content, encoding="utf-8")
        command = [self._bwrap, "--unshare-all", "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY]
        if limits.network:
            command.append("--share-net")
        command += ["--hostname", os.uname().nodename, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        command += ["--ro-bind", str(root), "/"]
        for system in _SYSTEM:
            source = Path(system)
            if source.is_symlink():
                (root / system[1:]).symlink_to(source.readlink())
            elif source.is_dir():
                _mount_point(root, system, is_dir=True)
                command += ["--ro-bind", system, system]
        for prefix in self._prefixes():
            _mount_point(root, prefix, is_dir=True)
            command += ["--ro-bind", prefix, prefix]
        for name in (*_ETC, *_ETC_NETWORK) if limits.network else _ETC:
            source = Path("/etc", name)
            if source.exists():
                _mount_point(root, str(source), is_dir=source.is_dir())
                command += ["--ro-bind", str(source.resolve()), str(source)]
        # Read-only too: root may write the kernel's settings in /proc/sys even without a capability, and the user nobody of
        # a script is root outside if its write path is root's. /dev is a file system in memory without a limit of size.
        command += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        command += ["--size", str(limits.file_bytes), "--tmpfs", "/tmp"]  # noqa: S108 - the script's own
        for path in limits.write:
            if not path.is_relative_to("/tmp"):  # noqa: S108 - there bwrap makes the place itself
                _mount_point(root, str(path), is_dir=path.is_dir())
            command += ["--bind", str(path.resolve()), str(path)]
        command += ["--chdir", "/tmp", "--clearenv"]  # noqa: S108
        for variable_name, value in _environment("/tmp", self._interpreters).items():  # noqa: S108
            command += ["--setenv", variable_name, value]
        plan = self._plan(folder, limits)
        plan["command"] = [*command, "--", interpreter.path, *interpreter.options, "/script"]
        return plan

    def _prefixes(self) -> list[str]:
        return [interpreter.prefix for interpreter in self._interpreters.values() if interpreter.prefix]

    # judging

    def _judge(self, script: Script, limits: Limits, talk: "_Talk", stderr: str) -> None:
        """Raises what the end of the run calls for; returns if all is well."""
        name = f"script {script.name!r}"
        status = talk.status()
        if talk.too_much:
            raise ScriptFailed(f"{name} {talk.too_much} and was ended", stderr)
        if status is None:
            raise ScriptFailed(f"{name} was ended together with its launcher, from outside", stderr)
        left = "; not all that it started could be ended" if status.get("left") else ""
        match status.get("ended"):
            case "exit" if status["code"] == 0 and not left:
                return
            case "exit":
                text = f"{name} ended with {_exit_text(status['code'], limits, stderr)}{left}"
                raise ScriptFailed(text, stderr, bytes(talk.stdout.kept))
            case "limit" if status["limit"] == "timeout_s":
                raise ScriptTimeout(
                    f"{name} ran longer than its {limits.timeout_s:g} s (timeout_s) and was ended{left}"
                )
            case "limit":
                raise ScriptFailed(f"{name} {_limit_text(status['limit'], limits)} and was ended{left}", stderr)
            case "refused":
                why = status["error"] or _last_line(stderr) or "bwrap did not say why"
                raise SandboxUnavailable(f"{name} could not be started: {why}")
            case _:
                raise ScriptFailed(f"{name} was stopped{left}", stderr)

    def _probe(self) -> str | None:
        """Runs a script that does nothing but try to break out; why this sandbox does not work here, or none."""
        script = (
            Script(name="probe", executor="bash", content=_PROBE)
            if "bash" in self._interpreters
            else Script(name="probe", executor="python", content=_PROBE_PYTHON)
        )
        limits = Limits(timeout_s=5.0)
        try:
            running = self._launch(script, limits, {})
            with running.control, running.process:
                try:
                    _, stderr = running.process.communicate(timeout=limits.timeout_s + _GRACE_S)
                except subprocess.TimeoutExpired:
                    running.process.kill()
                    raise
                said = running.control.recv(4096)
        except ScriptError as error:
            return str(error).partition(": ")[2] or str(error)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        status: Status = marshal.loads(said) if said else {}  # noqa: S302 - the launcher is ours
        if status.get("ended") == "exit" and status["code"] == 0:
            return None
        if status.get("ended") == "exit" and status["code"] == 9:
            return "a script could read what it must not"
        return (
            status.get("error") or _last_line(stderr.decode(errors="replace")) or f"the probe ended with {dict(status)}"
        )


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
    interpreters = _find_interpreters(python)
    common = Sandbox(
        level=Level.off,
        explanation="",
        _settings=settings,
        _interpreters=interpreters,
        _abi=min(landlock.version(), sys.maxsize if landlock_version is None else landlock_version),
        _scratch=_scratch_folder(),
    )
    reasons: list[str] = []
    for level in levels:
        problem: str | None = None
        for own_user in (True, False) if os.geteuid() == 0 else (False,):
            sandbox, problem = _try_level(common, level, own_user)
            if sandbox is not None:
                return _explained(sandbox, reasons)
        reasons.append(f"{level.value}: {problem}")
    why = "; ".join(reasons) or "no level was to be tried"
    setting = variable("script_sandbox")
    if settings.script_sandbox == "off":
        return replace(
            common,
            explanation=f"scripts run WITHOUT A SANDBOX and may do all that Notifier may, because {setting}=off ({why})",
        )
    return replace(
        common,
        level=Level.none,
        explanation=f"scripts are refused, because no sandbox is possible here ({why});"
        f" install bubblewrap and allow user namespaces, or use Linux with Landlock;"
        f" {setting}=off runs scripts without protection",
    )


def _try_level(common: Sandbox, level: Level, own_user: bool) -> tuple[Sandbox | None, str | None]:
    """The sandbox of that level if it works here, else why it does not."""
    if not sys.platform.startswith("linux"):
        return None, "only on Linux"
    if not common._interpreters:
        return None, f"neither bash nor python3 is in {', '.join(_SEARCH)}"
    exposed = _exposed(common)
    if exposed:
        return None, exposed
    sandbox = replace(common, level=level, _own_user=own_user)
    if level is Level.bubblewrap:
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            return None, "bwrap is not installed (Debian and Ubuntu: apt install bubblewrap)"
        sandbox = replace(sandbox, _bwrap=bwrap)
    elif level is Level.landlock:
        if common._abi == 0:
            return None, "this kernel does not offer it (Linux 5.13 or newer, with landlock among its security modules)"
        if not landlock.machine_known():
            return (
                None,
                f"without a filter of system calls, which is not written for {os.uname().machine}, UDP stays open",
            )
    else:
        return None, "is not a level that can be tried"
    problem = sandbox._probe()
    if problem is None:
        return sandbox, None
    if level is Level.bubblewrap:
        problem += " (bwrap needs user namespaces, which sysctls, AppArmor or a container's seccomp profile may forbid)"
    return None, problem


def _explained(sandbox: Sandbox, reasons: Sequence[str]) -> Sandbox:
    users = "each as a user of its own" if sandbox._own_user else "all as the user that Notifier runs as"
    text = f"scripts run in {sandbox.level.value}, {users}"
    if sandbox.level is Level.landlock:
        text = f"scripts run under Landlock (version {sandbox._abi}), {users}"
        if sandbox._abi < landlock.SCOPES_SINCE and not sandbox._own_user:
            text += "; before Linux 6.12 they may send no signals, `kill` and `timeout` in them fail"
    elif not landlock.machine_known():
        text += f"; without a filter of system calls, which is not written for {os.uname().machine}"
    if reasons:
        text += f"; nothing stronger, because {'; '.join(reasons)}"
        if any("ermi" in reason or "namespace" in reason for reason in reasons):  # "Permission denied", "not permitted"
            text += (
                " (allow user namespaces: sysctl kernel.unprivileged_userns_clone or your container's seccomp profile)"
            )
    return replace(sandbox, explanation=text)


def _exposed(sandbox: Sandbox) -> str | None:
    """Why scripts could read the data folder, if they could."""
    assert sandbox._settings is not None
    data = sandbox._settings.data_dir.resolve()
    for place in (*_SYSTEM, *sandbox._prefixes()):
        if data.is_relative_to(Path(place).resolve()):
            name = variable("data_dir")
            return f"the data folder {data} lies in {place}, which scripts may read; set {name} to a folder elsewhere"
    return None


def _scratch_folder() -> str:
    """Where the folders of runs are made: if possible on the file system of `/`, so that `df /` in a script tells of it."""
    usual = tempfile.gettempdir()
    for folder in (usual, "/var/tmp"):  # noqa: S108 - what is made in it is made by mkdtemp
        try:
            if os.stat(folder).st_dev == os.stat("/").st_dev and os.access(folder, os.W_OK | os.X_OK):  # noqa: PTH116
                return folder
        except OSError:  # it does not exist
            continue
    return usual


def _find_interpreters(python: Path | None) -> dict[Executor, _Interpreter]:
    """What runs scripts: bash and Python of the system, or else the Python that we run in ourselves."""
    found: dict[Executor, _Interpreter] = {}
    bash = _find("bash")
    if bash is not None:
        found["bash"] = _Interpreter(path=bash)
    # macOS has a /usr/bin/python3 that only offers to install one.
    system = _find("python3") if python is None and sys.platform.startswith("linux") else None
    # -I: nothing from the environment or the current folder; -B: nowhere to write compiled files to.
    options = ("-I", "-B")
    if system is not None:
        found["python"] = _Interpreter(path=system, options=options)
        return found
    path = python or Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if path.exists():
        path = path.resolve()
        prefix = path.parent.parent
        found["python"] = _Interpreter(
            path=str(path),
            options=options,
            prefix=None if _is_system(path) else str(prefix),
            private=not _open_to_all(path),
        )
    return found


def _find(name: str) -> str | None:
    for folder in _SEARCH:
        path = Path(folder, name)
        if os.access(path, os.X_OK) and (_is_system(path) or not sys.platform.startswith("linux")):
            return str(path)
    return None


def _is_system(path: Path) -> bool:
    return any(path.resolve().is_relative_to(Path(system).resolve()) for system in _SYSTEM)


def _open_to_all(path: Path) -> bool:
    """Whether every user can get at a file: each folder above it can be searched by others."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents))


def _environment(home: str, interpreters: Mapping[Executor, _Interpreter]) -> dict[str, str]:
    ours = [f"{interpreter.prefix}/bin" for interpreter in interpreters.values() if interpreter.prefix]
    return {"PATH": ":".join([*ours, *_SEARCH]), "HOME": home, "LANG": "C.UTF-8", "TMPDIR": home}


def _mount_point(root: Path, path: str, *, is_dir: bool) -> None:
    place = root / path.lstrip("/")
    if is_dir:
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _exit_text(code: int, limits: Limits, stderr: str) -> str:
    """An exit status in words, with the limit that it looks like and the last line of standard error."""
    text = f"exit status {code}"
    if code > 128:
        try:
            text += f" (as after {signal.Signals(code - 128).name})"
        except ValueError:  # just a number
            pass
    for limit, looks_so in (
        ("cpu_s", code == 128 + signal.SIGXCPU),
        ("file_bytes", code == 128 + signal.SIGXFSZ or re.search("File too large|No space left on device", stderr)),
        ("memory_mb", re.search("MemoryError|Cannot allocate memory", stderr)),
        ("processes", re.search("Resource temporarily unavailable|can't start new thread", stderr)),
    ):
        if looks_so:
            text += f"; it seems that it {_limit_text(limit, limits)}"
    last = _last_line(stderr)
    return f"{text}: {last}" if last else text


def _limit_text(limit: str, limits: Limits) -> str:
    match limit:
        case "memory_mb":
            return f"used more than its {limits.memory_mb} MB of memory (memory_mb)"
        case "cpu_s":
            return f"used more than its {limits.cpu_s} s of processor time (cpu_s)"
        case "processes":
            return f"had more than its {limits.processes} processes (processes)"
        case _:
            return f"wrote more than its {limits.file_bytes} bytes, or too many files ({limit})"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


def _redact(text: str, secrets: Mapping[str, str]) -> str:
    # Shorter ones would be found everywhere, and guessed anyway.
    for secret in sorted((value for value in secrets.values() if len(value) >= 4), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


# Talking with a run


@dataclass(frozen=True, kw_only=True)
class _Running:
    process: "subprocess.Popen[bytes]"  # the launcher, with the pipes of the script
    control: socket.socket
    folder: str


class _Sink:
    """Takes what a pipe brings: the first bytes up to a number, or the last."""

    def __init__(self, most: int, *, last: bool) -> None:
        self.kept = bytearray()
        self.total = 0
        self.longest_line = 0
        self._most = most
        self._last = last
        self._line = 0  # length of the line that has no end yet

    def take(self, data: bytes) -> None:
        self.total += len(data)
        self.kept += data
        if len(self.kept) > self._most:
            del self.kept[: -self._most if self._last else None]
        first, *others = data.split(b"\n")
        self._line += len(first)
        for line in others:
            self.longest_line = max(self.longest_line, self._line)
            self._line = len(line)
        self.longest_line = max(self.longest_line, self._line)

    def text(self) -> str:
        return self.kept.decode(errors="replace")


class _Talk:
    """The event loop's side of a run: feeds standard input, takes both outputs, hears the launcher. Nothing here waits.

    Readers of the loop and not its subprocesses: those need a child watcher, or a thread for each, and leave pipes open
    where something still holds the other end.
    """

    def __init__(self, running: _Running, stdin: bytes, limits: Limits) -> None:
        self.stdout = _Sink(limits.output_bytes + 1, last=False)
        self.stderr = _Sink(limits.stderr_bytes, last=True)
        self.too_much: str | None = None  # what the script did that was ended for it
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()  # when the launcher has
        self._running = running
        self._limits = limits
        self._stdin: memoryview | None = memoryview(stdin)  # what is still to be written; none: the pipe is closed
        self._said = bytearray()  # by the launcher
        process = running.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._input = process.stdin.fileno()
        self._outputs = {process.stdout.fileno(): self.stdout, process.stderr.fileno(): self.stderr}
        for number in (self._input, *self._outputs, running.control.fileno()):
            os.set_blocking(number, False)
        self._pipes = (process.stdin, process.stdout, process.stderr)
        self._loop.add_reader(running.control, self._hear)
        for number in self._outputs:
            self._loop.add_reader(number, self._read, number)
        self._loop.add_writer(self._input, self._feed)

    def status(self) -> "Status | None":
        """What the launcher has said; none where it was killed before it could."""
        return marshal.loads(self._said) if self._said else None  # noqa: S302 - the launcher is ours

    def stop(self) -> None:
        """Asks the launcher to end the script."""
        try:
            self._running.control.shutdown(socket.SHUT_WR)
        except OSError:  # it has ended
            pass

    async def close(self) -> None:
        """Ends the script if it has not ended, and lets go of everything; cancelling does not keep it from that."""
        self.stop()
        deadline = self._loop.time() + _GRACE_S
        cancelled: asyncio.CancelledError | None = None
        while not self.ended.done() and self._loop.time() < deadline:
            try:
                await asyncio.wait([self.ended], timeout=deadline - self._loop.time())
            except asyncio.CancelledError as error:
                cancelled = error
        process, folder = self._running.process, self._running.folder
        if not self.ended.done():
            process.kill()
        process.wait()  # it has closed its socket or been killed: this returns at once
        for number in (self._running.control.fileno(), *self._outputs):
            self._loop.remove_reader(number)
        if self._stdin is not None:
            self._loop.remove_writer(self._input)
        if not self._said or not sys.platform.startswith("linux"):
            _sweep(folder)
        for number in self._outputs:
            self._read(number)
        for pipe in self._pipes:
            pipe.close()
        self._running.control.close()
        launcher.remove(folder)  # it has done so itself unless it was killed
        if cancelled is not None:
            raise cancelled

    def _hear(self) -> None:
        try:
            data = self._running.control.recv(4096)
        except BlockingIOError:
            return
        except OSError:  # killed with something unread: as good as an end
            data = b""
        self._said += data
        if not data:
            self._loop.remove_reader(self._running.control)
            if not self.ended.done():
                self.ended.set_result(None)

    def _feed(self) -> None:
        assert self._stdin is not None
        try:
            if self._stdin:
                self._stdin = self._stdin[os.write(self._input, self._stdin) :]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it, which is the script's right
            self._stdin = self._stdin[:0]
        if not self._stdin:
            self._stdin = None
            self._loop.remove_writer(self._input)
            self._pipes[0].close()

    def _read(self, number: int) -> None:
        """Takes what there is to read, until there is no more or it is too much."""
        sink = self._outputs[number]
        for _ in range(16):  # then others get their turn
            try:
                data = os.read(number, 65536)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(number)
                return
            sink.take(data)
            self._check(sink)

    def _check(self, sink: _Sink) -> None:
        if self.too_much is not None:
            return
        if sink.total > self._limits.output_bytes:
            name = "standard output" if sink is self.stdout else "standard error"
            self.too_much = f"printed more than {self._limits.output_bytes} bytes on {name} (output_bytes)"
        elif sink is self.stdout and sink.longest_line > self._limits.line_bytes:
            self.too_much = f"printed a line of more than {self._limits.line_bytes} bytes (line_bytes)"
        if self.too_much is not None:
            self.stop()


def _sweep(folder: str) -> None:
    """Kills what a run has left whose launcher was killed, or could not see everything, as on macOS.

    Those are the processes whose environment still names the run's folder.
    """
    for _ in range(3):
        found = [process for process in psutil.process_iter() if _names(process, folder)]
        for process in found:
            try:
                process.kill()
            except psutil.Error:  # it has ended
                pass
        if not found:
            return
        psutil.wait_procs(found, timeout=1)


def _names(process: psutil.Process, folder: str) -> bool:
    try:
        return process.environ().get("TMPDIR") == f"{folder}/work"
    except (psutil.Error, OSError):  # it has ended, or is not ours to look into
        return False
