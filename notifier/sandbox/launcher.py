"""The launcher: a small process beside each script that runs. It starts the script, watches it and ends it.

`notifier.sandbox.start` starts one for every run, with the interpreter that it runs in itself (`BOOT`: no site-packages, no
current folder on the path, an empty environment), and writes a LaunchOrder to the file `order` of the run's folder. The two
talk over one socket: when Notifier closes its end, or dies, the script ends; when the script has ended, the launcher says
how in one Status and ends too.

A process of its own, for three reasons: descendants that lose their parent are adopted by a "child subreaper", and that must
not be the process that also looks after a broker and plugins; the script ends even when Notifier is killed; and privileges
can be given up between fork and exec safely only in a process without threads.

Every run pays for its start, so modules that are not worth their import time are replaced by a few lines or by the C module
beneath: `json`, `signal`, `socket`, `typing` and `pathlib` together double the 12 ms that it takes. A module of ours costs a
quarter of a millisecond, so those that only one level or user needs are imported there. All of them lie beside this file.
"""
# pathlib costs milliseconds, see above; and starting a program is what this is for.
# ruff: noqa: PTH101, PTH123, S606

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import marshal
import os
import select
import sys
import time

from notifier.sandbox import linux, usage

try:
    import resource
except ImportError:  # not Unix: nothing here works there, but importing must
    pass

TYPE_CHECKING = False  # type checkers know better; saves importing `typing`
if TYPE_CHECKING:
    import _socket
    from typing import NoReturn

    from notifier.sandbox.order import LaunchOrder, Status

# Imports the launcher and its neighbours from the folder in argv[1], as `notifier.sandbox.…`, without running the packages'
# own `__init__` and without putting the folder on the path, where its names would stand beside the standard library's.
BOOT = (
    "import sys,types\n"
    "for name in 'notifier','notifier.sandbox':\n"
    " package=sys.modules[name]=types.ModuleType(name);package.__path__=[sys.argv[1]]\n"
    "from notifier.sandbox.launcher import main;main(sys.argv[2:])"
)

_LINUX = sys.platform.startswith("linux")
_SECRETS_FD = 3
_END_S = 5.0  # how long killed processes may take to be gone
_NICENESS = 5  # Notifier goes before its scripts


class Refused(Exception):
    """The script cannot be started; the text says why."""


def main(arguments: list[str]) -> NoReturn:
    """Runs one script: the run's folder, the number of the control socket and that of the secrets' pipe, or -1."""
    folder, control, secrets = arguments[0], int(arguments[1]), int(arguments[2])
    for number in (control, secrets):
        if number >= 0:
            os.set_inheritable(number, False)
    with open(folder + "/order", "rb") as file:
        order: LaunchOrder = marshal.load(file)  # noqa: S302 - Notifier wrote it, in a folder nobody else can write
    try:
        status = Launch(order, control, secrets).run()
    except (OSError, Refused) as error:
        status = {"ended": "refused", "error": str(error)}
    remove(folder)
    try:
        os.write(control, marshal.dumps(dict(status)))
    except OSError:  # Notifier has ended
        pass
    os._exit(0)


def remove(folder: str) -> None:
    """Removes a folder with all in it, of any depth and mode; opens it first if need be."""
    # The command, because Python's own way recurses and so stops at a folder that is a thousand deep.
    for command in (["rm", "-rf", folder], ["chmod", "-R", "u+rwx", folder], ["rm", "-rf", folder]):
        if not os.path.lexists(folder):
            return
        child = os.posix_spawnp(
            command[0],
            command,
            {"PATH": os.defpath},
            file_actions=[(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
        )
        os.waitpid(child, 0)


class Launch:
    """One script, from its start until nothing of it is left."""

    def __init__(self, order: LaunchOrder, control: int, secrets: int) -> None:
        self.order = order
        self.control = control  # becomes readable when the script is to end
        self.secrets = secrets  # descriptor that the script gets as number 3, or -1
        self.child = 0  # process id of what was started: the script, or bwrap around it
        self.code: int | None = None  # how `child` ended
        self.inner = 0  # under bubblewrap, the first process of the namespace, as numbered here
        self.user: tuple[int, int] | None = None  # user and group that the script runs as; None: as here
        self.own_user = False  # whether no other process runs as that user
        self.scoped = False  # whether kill(-1) reaches only the script and its descendants
        self._asked_to_stop = False
        self._woken = -1  # becomes readable when a child has ended or a signal asks to stop
        self._reserved: _socket.socket | None = None  # holds the own user's number
        self._reaped = False  # whether every descendant is gone

    def run(self) -> Status:
        """Starts the script, waits for it and ends all of it. Raises Refused or OSError if it could not be started."""
        self._woken, signalled = os.pipe()
        for end in (self._woken, signalled):
            os.set_blocking(end, False)
        _signal.set_wakeup_fd(signalled)
        for number in (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, self._on_signal)
        if _LINUX:
            linux.adopt_orphans()
        self._choose_user()
        try:
            if self.order["level"] == "bubblewrap":
                status = self._run_bubblewrap()
            else:
                self._start()
                status = self._watch()
        finally:
            gone = self._end_all()
        if not gone:
            status["left"] = True
        status["cpu_s"], status["memory_mb"] = usage.ended_s(), usage.most_mb()
        return status

    def _on_signal(self, number: int, frame: object) -> None:
        if number != _signal.SIGCHLD:
            self._asked_to_stop = True

    # --- the script's user ---

    def _choose_user(self) -> None:
        """Settles which user the script runs as, and gives that user what it needs of the run's folder and pipes."""
        order = self.order
        if order["user"] == "keep":
            return
        if order["user"] == "own":
            from notifier.sandbox import own_user

            number, self._reserved = own_user.reserve_user()
            self.user, self.own_user = (number, number), True
        else:
            user, group = order["user"].split(":")
            self.user = (int(user), int(group))
        os.chown(order["folder"], -1, self.user[1])
        os.chmod(order["folder"], 0o750)  # noqa: S103 - its group is the script's own
        if order["level"] == "landlock":
            os.chown(order["folder"] + "/script", -1, self.user[1])
            os.chown(order["work"], *self.user)
        for standard in (0, 1, 2):
            # Else `>/dev/stderr`, which opens the pipe anew by its name, would be refused.
            os.fchown(standard, *self.user)

    def _change_user(self) -> None:
        if self.user is not None:
            os.setgroups([self.user[1]])
            os.setresgid(self.user[1], self.user[1], self.user[1])
            linux.drop_bounding_set()
            os.setresuid(self.user[0], self.user[0], self.user[0])

    # --- starting ---

    def _start(self) -> None:
        """Starts the script itself, under Landlock where the level is that."""
        order = self.order
        if order["level"] == "landlock":
            from notifier.sandbox import landlock, seccomp

            linux.keep_privileges()
            if order["abi"] >= landlock.SCOPES_SINCE:
                landlock.scope_signals()
                self._check_scope()
        errors, report = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                self._prepare_child(order["processes"] if self.own_user else None)
                if order["level"] == "landlock":
                    # The rules are made while every path may still be opened; the filter comes last, it forbids the rest.
                    rules = landlock.ruleset(
                        abi=order["abi"], read=order["read"], write=order["write"], network=order["network"]
                    )
                    calls = seccomp.call_filter(network=order["network"], same_user=not self.own_user, abi=order["abi"])
                    self._change_user()
                    linux.drop_capabilities()
                    landlock.enter(rules)
                if _LINUX:
                    linux.die_with_parent()
                if order["level"] == "landlock":
                    seccomp.apply_filter(calls)
                os.execve(order["command"][0], order["command"], order["environment"])
            except (OSError, ValueError) as error:
                os.write(report, str(error).encode())
            finally:
                os._exit(127)
        os.close(report)
        problem = os.read(errors, 4096)  # until exec closes the pipe
        os.close(errors)
        if problem:
            raise Refused(problem.decode(errors="replace"))

    def _check_scope(self) -> None:
        """Tests that the kernel keeps our signals in, before anything here relies on it with kill(-1)."""
        if os.getppid() != self.order["parent"]:
            raise Refused("the process that wanted the script has ended")
        try:
            os.kill(self.order["parent"], 0)
        except PermissionError:
            self.scoped = True

    def _run_bubblewrap(self) -> Status:
        """Starts bwrap with the script in it, and waits until either has ended."""
        from notifier.sandbox import bwrap

        order = self.order
        pipes = bwrap.Pipes(order["network"])
        self.child = os.fork()
        if self.child == 0:
            try:
                self._prepare_child(order["processes"] + usage.BWRAP_PROCESSES if self.own_user else None)
                self._change_user()
                linux.die_with_parent()
                pipes.pass_on()
                command = [order["command"][0], *pipes.options, *order["command"][1:]]
                os.execve(command[0], command, order["environment"])
            except (OSError, ValueError) as error:
                os.write(2, f"bwrap: {error}\n".encode())
            finally:
                os._exit(127)
        self.inner = pipes.wait_for_start()
        if self.inner and not self.own_user:
            # Processes of one user are counted by user namespace, so the limit can be set only from within it, or here.
            try:
                resource.prlimit(self.inner, resource.RLIMIT_NPROC, (order["processes"] + 1,) * 2)
            except OSError:  # root without the right to; then only `usage.reached_limit` counts
                pass
        pipes.unblock()
        status = self._watch()
        return bwrap.exit_status(pipes.report, status["code"]) if status["ended"] == "exit" else status

    def _prepare_child(self, processes: int | None) -> None:
        """What the child does to itself at every level, before it changes its user."""
        order = self.order
        os.setsid()
        os.chdir(order["work"])
        usage.set_limits(order, processes)
        if _LINUX:
            _try_write("/proc/self/oom_score_adj", b"1000")  # where memory is short, scripts go first
        try:
            os.nice(_NICENESS)
        except OSError:
            pass
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # Python ignores them, and that would be inherited
            _signal.signal(number, _signal.SIG_DFL)
        if self.secrets >= 0:
            os.dup2(self.secrets, _SECRETS_FD)
            os.set_inheritable(_SECRETS_FD, True)

    # --- watching ---

    def _watch(self) -> Status:
        """Waits until the script ends by itself, reaches a limit or is to be stopped."""
        timeout_s = self.order["timeout_s"]
        started = time.monotonic()
        events = select.poll()
        events.register(self.control, select.POLLIN)
        events.register(self._woken, select.POLLIN)
        next_look = started
        while True:
            now = time.monotonic()
            self._reap()
            if self.code is not None:
                # On a busy machine its processes may each come to their own limit between two looks, and it say nothing of it.
                if usage.ended_s() > self.order["cpu_s"]:
                    return {"ended": "limit", "limit": "cpu_s"}
                return {"ended": "exit", "code": self.code}
            if now - started >= timeout_s:
                return {"ended": "limit", "limit": "timeout_s"}
            if _LINUX and now >= next_look:
                limit = usage.reached_limit(self.order, self.inner)
                if limit:
                    return {"ended": "limit", "limit": limit}
                ran = now - started
                # Often at first, for what grows fast; never more than a twentieth of a processor.
                pause = 0.05 if ran < 2 else 0.1 if ran < 10 else 0.25
                next_look = now + max(pause, 20 * (time.monotonic() - now))
            wait_s = started + timeout_s - now
            if _LINUX:
                wait_s = min(wait_s, next_look - now)
            ready = {number for number, _ in events.poll(max(0.0, wait_s) * 1000 + 1)}
            if self._woken in ready:
                os.read(self._woken, 4096)
            if self._asked_to_stop or self.control in ready:
                return {"ended": "stopped"}

    def _reap(self) -> None:
        """Takes note of children that have ended, adopted ones too."""
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._reaped = True
                return
            if child == 0:
                return
            if child == self.child:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    # --- ending ---

    def _end_all(self) -> bool:
        """Kills the script and all it started; whether they are gone."""
        deadline = time.monotonic() + _END_S
        if not _LINUX and self.child:
            # No other system lets us adopt orphans. Processes that left the session too are `notifier.sandbox.talk`'s.
            _try_kill(-self.child)
        while True:
            self._reap()
            if self._reaped or self.child == 0:
                return True
            if time.monotonic() > deadline:
                return False
            self._kill_all()
            events = select.poll()
            events.register(self._woken, select.POLLIN)
            if events.poll(10):
                os.read(self._woken, 4096)

    def _kill_all(self) -> None:
        if self.scoped:
            _try_kill(-1)  # every process that the kernel lets us signal, all at once: see `landlock.scope_signals`
        elif self.own_user and self.user is not None and self.order["level"] == "landlock":
            # All at once too: no process can fork its way out, as it could while they are looked for one by one.
            killer = os.fork()
            if killer == 0:
                try:
                    os.setresuid(self.user[0], self.user[0], self.user[0])
                    os.kill(-1, _signal.SIGKILL)
                finally:
                    os._exit(0)
            os.waitpid(killer, 0)
        else:
            if self.code is None:
                _try_kill(self.child)  # with bwrap its namespaces end, and all in them
            for process in usage.descendants(usage.processes(), os.getpid()):
                _try_kill(process)


def _try_write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError:  # only to be nice
        pass


def _try_kill(process: int) -> None:
    try:
        os.kill(process, _signal.SIGKILL)
    except OSError:  # it has ended
        pass
