"""The launcher: a small process beside each script that runs. It starts the script, watches it and ends it.

`notifier.sandbox` starts one for every run, with the interpreter that it runs in itself (`BOOT`: no site-packages, no
current folder on the path, an empty environment), and says in the file `plan` of the run's folder what to do. The two talk
over one socket: when `notifier.sandbox` closes its end, or dies, the script ends; when the script has ended, the launcher
says how in one Status and ends too.

Why a process of its own: descendants that lose their parent are adopted by a "child subreaper", and that must not be the
process that also looks after a broker and plugins; the script ends even when Notifier is killed; and giving up rights
between fork and exec is safe only in a process without threads.

It starts for every run, so what is not worth its import time is done by hand or taken from the C module beneath: `json`,
`signal`, `socket`, `typing` and `pathlib` together double the 12 ms that it takes.
"""
# pathlib costs milliseconds, see above; and starting a program is what this is for.
# ruff: noqa: PTH101, PTH110, PTH116, PTH123, PTH208, S606

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub for it
import _socket
import marshal
import os
import select
import sys
import time

from notifier.sandbox import landlock

try:
    import fcntl
    import resource
except ImportError:  # not Unix: nothing here works there, but importing must
    pass

TYPE_CHECKING = False  # type checkers know better; saves importing `typing`
if TYPE_CHECKING:
    from typing import NoReturn, TypedDict

    class Plan(TypedDict):
        """What the file `plan` holds, as `marshal` writes it: it is read by the same interpreter."""

        level: str  # bubblewrap, landlock or off
        folder: str  # the run's own; removed at the end
        command: list[str]  # what is started, with its arguments; for bubblewrap the command line of bwrap
        environment: dict[str, str]  # for bubblewrap bwrap's, empty
        work: str  # folder that the command starts in
        user: str  # keep, own, or the numbers of a user and a group: 1000:1000
        read: list[str]  # what Landlock leaves to read
        write: list[str]  # and to write
        network: bool
        abi: int  # version of Landlock to use
        parent: int  # process id of who started the launcher
        timeout_s: float
        memory_mb: int
        cpu_s: int
        processes: int
        file_bytes: int
        open_files: int

    class Status(TypedDict, total=False):
        """What the launcher says at the end, as `marshal` writes it."""

        ended: str  # exit (by itself), limit, stopped (the other end closed) or refused (it was not started)
        code: int  # with exit: its status, above 128 as after that signal
        limit: str  # with limit: the name of the limit it was killed for
        error: str  # with refused: why
        left: bool  # something it started could not be ended within five seconds


# Imports the launcher from the folder of this file, and `notifier.sandbox.landlock` beside it, without the packages' own
# `__init__` and without putting the folder on the path, where its names would stand beside the standard library's.
BOOT = (
    "import sys,types\n"
    "for name in 'notifier','notifier.sandbox':\n"
    " package=sys.modules[name]=types.ModuleType(name);package.__path__=[sys.argv[1]]\n"
    "from notifier.sandbox.launcher import main;main(sys.argv[2:])"
)

_LINUX = sys.platform.startswith("linux")
_SECRETS_FD = 3
_CLEAR_FD = 10  # descriptors that bwrap is given begin here, out of the way of those that the script gets
_MEGABYTE = 1024 * 1024
_GIGABYTE = 1024 * _MEGABYTE
_MAX_FILES = 5_000  # that one run may have in its own folder
_END_S = 5.0  # how long killed processes may take to be gone
_NICENESS = 5  # Notifier goes before its scripts
_OWN_USERS = (2_000_000_000, 1_000_000)  # first and how many: above every range that systemd and containers give out
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Refused(Exception):
    """The script cannot be started; the text says why."""


def main(arguments: list[str]) -> NoReturn:
    """Runs one script: the run's folder, the number of the control socket and that of the secrets' pipe, or -1."""
    folder, control, secrets = arguments[0], int(arguments[1]), int(arguments[2])
    for number in (control, secrets):
        if number >= 0:
            os.set_inheritable(number, False)
    with open(folder + "/plan", "rb") as file:
        plan: Plan = marshal.load(file)  # noqa: S302 - written by who started us, in a folder nobody else can write
    try:
        status = Launch(plan, control, secrets).run()
    except (OSError, Refused) as error:
        status = {"ended": "refused", "error": str(error)}
    remove(folder)
    try:
        os.write(control, marshal.dumps(dict(status)))
    except OSError:  # whoever wanted to know has ended
        pass
    os._exit(0)


def remove(folder: str) -> None:
    """Removes a folder with all in it, however deep and whatever its modes, if need be by opening it first."""
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

    def __init__(self, plan: Plan, control: int, secrets: int) -> None:
        self.plan = plan
        self.control = control  # becomes readable when the script is to end
        self.secrets = secrets  # what the script gets as descriptor 3, or -1
        self.child = 0  # process id of what was started: the script, or bwrap around it
        self.code: int | None = None  # how `child` ended
        self.inner = 0  # under bubblewrap, the first process of the namespace, as numbered here
        self.user: tuple[int, int] | None = None  # whom the script runs as, user and group; none: as here
        self.own_user = False  # whether nobody else runs as that user
        self.scoped = False  # whether kill(-1) reaches the script, what it started and nothing else
        self._asked_to_stop = False
        self._woken = -1  # becomes readable when a child has ended or we are to stop
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
            landlock.adopt_orphans()
        self._choose_user()
        status: Status
        try:
            if self.plan["level"] == "bubblewrap":
                report = self._start_bubblewrap()
                status = self._watch()
                if status["ended"] == "exit":
                    status = _exit_under_bubblewrap(report, status["code"])
            else:
                self._start()
                status = self._watch()
        finally:
            gone = self._end_all()
        if not gone:
            status["left"] = True
        return status

    def _on_signal(self, number: int, frame: object) -> None:
        if number != _signal.SIGCHLD:
            self._asked_to_stop = True

    # whom the script runs as

    def _choose_user(self) -> None:
        """Settles whom the script runs as, and gives that user what it needs of the run's folder and pipes."""
        plan = self.plan
        if plan["user"] == "keep":
            return
        if plan["user"] == "own":
            number, self._reserved = _reserve_user()
            self.user, self.own_user = (number, number), True
        else:
            user, group = plan["user"].split(":")
            self.user = (int(user), int(group))
        os.chown(plan["folder"], -1, self.user[1])
        os.chmod(plan["folder"], 0o750)  # noqa: S103 - its group is the script's own
        if plan["level"] == "landlock":
            os.chown(plan["folder"] + "/script", -1, self.user[1])
            os.chown(plan["work"], *self.user)
        for standard in (0, 1, 2):
            # Else `>/dev/stderr`, which opens the pipe anew by its name, would be refused.
            os.fchown(standard, *self.user)

    def _change_user(self) -> None:
        if self.user is not None:
            os.setgroups([self.user[1]])
            os.setresgid(self.user[1], self.user[1], self.user[1])
            landlock.drop_bounding_set()
            os.setresuid(self.user[0], self.user[0], self.user[0])

    # starting

    def _start(self) -> None:
        """Starts the script itself, under Landlock where the level is that."""
        plan = self.plan
        if plan["level"] == "landlock":
            landlock.keep_privileges()
            if plan["abi"] >= landlock.SCOPES_SINCE:
                landlock.scope_signals()
                self._check_scope()
        errors, report = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            try:
                self._prepare_child(plan["processes"] if self.own_user else None)
                if plan["level"] == "landlock":
                    # The rules are made while we may still open every path; the filter comes last, it forbids the rest.
                    rules = landlock.ruleset(
                        abi=plan["abi"], read=plan["read"], write=plan["write"], network=plan["network"]
                    )
                    calls = landlock.call_filter(network=plan["network"], same_user=not self.own_user, abi=plan["abi"])
                    self._change_user()
                    landlock.drop_capabilities()
                    landlock.enter(rules)
                if _LINUX:
                    landlock.die_with_parent()
                if plan["level"] == "landlock":
                    landlock.apply_filter(calls)
                os.execve(plan["command"][0], plan["command"], plan["environment"])
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
        """Sees for itself that the kernel keeps our signals in, before anything here relies on it with kill(-1)."""
        if os.getppid() != self.plan["parent"]:
            raise Refused("the process that wanted the script has ended")
        try:
            os.kill(self.plan["parent"], 0)
        except PermissionError:
            self.scoped = True

    def _start_bubblewrap(self) -> int:
        """Starts bwrap with the script in it; the answer is the pipe on which bwrap says how it went."""
        plan = self.plan
        report, reports = _clear_pipe()
        block, unblock = _clear_pipe()
        options = ["--json-status-fd", str(reports), "--block-fd", str(block)]
        passed = [reports, block]
        if landlock.machine_known():
            calls, filled = _clear_pipe()
            os.write(filled, landlock.call_filter(network=plan["network"], same_user=False, abi=0))
            os.close(filled)
            options += ["--seccomp", str(calls)]
            passed.append(calls)
        self.child = os.fork()
        if self.child == 0:
            try:
                # bwrap itself is two processes.
                self._prepare_child(plan["processes"] + 2 if self.own_user else None)
                self._change_user()
                landlock.die_with_parent()
                for number in passed:
                    os.set_inheritable(number, True)
                os.execve(plan["command"][0], [plan["command"][0], *options, *plan["command"][1:]], plan["environment"])
            except (OSError, ValueError) as error:
                os.write(2, f"bwrap: {error}\n".encode())
            finally:
                os._exit(127)
        for number in passed:
            os.close(number)
        said = os.read(report, 4096)  # nothing, where bwrap could not do what was asked
        if said:
            self.inner = _number_after(said, b'"child-pid":') or 0
        if self.inner and not self.own_user:
            # Processes of one user are counted by user namespace, so the limit can be set only from within it, or here.
            try:
                resource.prlimit(self.inner, resource.RLIMIT_NPROC, (plan["processes"] + 1,) * 2)
            except OSError:  # we are root without the right to; then `_sample` counts alone
                pass
        try:
            os.write(unblock, b"\n")
        except OSError:  # bwrap has given up; its exit says so
            pass
        os.close(unblock)
        return report

    def _prepare_child(self, processes: int | None) -> None:
        """What the child does to itself at every level, before it changes its user."""
        plan = self.plan
        os.setsid()
        os.chdir(plan["work"])
        for name, value in (
            # Reserved memory counts here, and a thread reserves much; what is really used is `_sample`'s to judge.
            ("RLIMIT_DATA", 2 * plan["memory_mb"] * _MEGABYTE),
            ("RLIMIT_AS", 2 * plan["memory_mb"] * _MEGABYTE + _GIGABYTE),
            ("RLIMIT_CPU", plan["cpu_s"]),  # of each process; a second later it is killed
            ("RLIMIT_FSIZE", plan["file_bytes"]),
            ("RLIMIT_NOFILE", plan["open_files"]),
            ("RLIMIT_NPROC", processes),
            ("RLIMIT_CORE", 0),
            ("RLIMIT_MEMLOCK", 0),
            ("RLIMIT_MSGQUEUE", 0),
        ):
            if value is not None and hasattr(resource, name):
                _set_limit(getattr(resource, name), value)
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

    # watching

    def _watch(self) -> Status:
        """Waits until the script ends by itself, reaches a limit or is to be stopped."""
        plan = self.plan
        started = time.monotonic()
        events = select.poll()
        events.register(self.control, select.POLLIN)
        events.register(self._woken, select.POLLIN)
        next_look = started
        while True:
            now = time.monotonic()
            self._reap()
            if self.code is not None:
                return {"ended": "exit", "code": self.code}
            if now - started >= plan["timeout_s"]:
                return {"ended": "limit", "limit": "timeout_s"}
            if _LINUX and now >= next_look:
                limit = self._sample()
                if limit:
                    return {"ended": "limit", "limit": limit}
                ran = now - started
                # Often at first, for what grows fast; never more than a twentieth of a processor.
                pause = 0.05 if ran < 2 else 0.1 if ran < 10 else 0.25
                next_look = now + max(pause, 20 * (time.monotonic() - now))
            wait_s = started + plan["timeout_s"] - now
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

    def _sample(self) -> str | None:
        """The name of the limit that the script and all it started have reached together, if any."""
        plan = self.plan
        table = _processes()
        members = _descendants(table, os.getpid())
        own = 2 if plan["level"] == "bubblewrap" else 0  # bwrap itself
        if len(members) - own > plan["processes"]:
            return "processes"
        memory_limit = plan["memory_mb"] * _MEGABYTE
        # Pages that a fork shares count more than once in the quick sum, so the exact one has the last word.
        if sum(map(_memory, members)) > memory_limit and sum(map(_exact_memory, members)) > memory_limit:
            return "memory_mb"
        waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = sum(table[member][1] for member in members)
        if ticks / _TICKS_PER_S + waited_for.ru_utime + waited_for.ru_stime > plan["cpu_s"]:
            return "cpu_s"
        if self._has_too_many_files():
            return "file_bytes"
        return None

    def _has_too_many_files(self) -> bool:
        if self.plan["level"] == "bubblewrap":
            # Its size is the kernel's to limit; bwrap cannot say how many files, and each takes memory.
            try:
                # Held by one descriptor, because while bwrap is at work the name means this machine's own folder first.
                folder = os.open(f"/proc/{self.inner}/root/tmp", os.O_PATH | os.O_CLOEXEC)
            except OSError:  # it is not there yet, or no longer
                return False
            try:
                space = os.statvfs(folder)
                ours = os.path.exists("/tmp") and os.fstat(folder).st_dev == os.stat("/tmp").st_dev  # noqa: S108
                return not ours and space.f_files - space.f_ffree > _MAX_FILES
            finally:
                os.close(folder)
        files = size = 0
        folders = [self.plan["work"]]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        files += 1
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        if files > _MAX_FILES or size > self.plan["file_bytes"]:
                            return True
            except FileNotFoundError:
                continue
            except PermissionError:  # its own mode forbids it; the files in it were counted or will be
                continue
            except OSError:  # a name too long: nobody needs folders that deep
                return True
        return False

    # ending

    def _end_all(self) -> bool:
        """Kills the script and all it started; whether they are gone."""
        deadline = time.monotonic() + _END_S
        if not _LINUX and self.child:
            # Nobody adopts orphans for us there. What has left the session too is `notifier.sandbox`'s to find.
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
        elif self.own_user and self.user is not None and self.plan["level"] == "landlock":
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
            for process in _descendants(_processes(), os.getpid()):
                _try_kill(process)


def _exit_under_bubblewrap(report: int, code: int) -> Status:
    """What bwrap's exit means: that of the script, or that bwrap could not do what was asked."""
    reported = _number_after(os.read(report, 4096), b'"exit-code":')
    if reported is not None:
        return {"ended": "exit", "code": reported}
    if code > 128:  # somebody killed bwrap, the kernel for want of memory perhaps
        return {"ended": "exit", "code": code}
    return {"ended": "refused", "error": ""}  # bwrap has said why on standard error


def _number_after(text: bytes, word: bytes) -> int | None:
    _, found, rest = text.partition(word)
    digits = rest.split(b",")[0].split(b"}")[0].strip()
    return int(digits) if found else None


def _clear_pipe() -> tuple[int, int]:
    """A pipe whose ends are out of the way of the numbers that the script gets."""
    ends = os.pipe()
    clear = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _CLEAR_FD) for end in ends]
    for end in ends:
        os.close(end)
    return clear[0], clear[1]


def _set_limit(name: int, value: int) -> None:
    _, highest = resource.getrlimit(name)
    hard = value + 1 if name == resource.RLIMIT_CPU else value  # SIGXCPU first: it says what the limit was
    if highest != resource.RLIM_INFINITY:
        value, hard = min(value, highest), min(hard, highest)
    try:
        resource.setrlimit(name, (value, hard))
    except (ValueError, OSError):  # this system does not have it in this form (macOS: RLIMIT_AS)
        pass


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


def _reserve_user() -> tuple[int, _socket.socket]:
    """The number of a user that nobody is, and what keeps it ours: a name that one process at a time can hold.

    Runs of all processes on this machine must differ, so a counter of our own would not do.
    """
    first, count = _own_users()
    taken = set(_known_users())
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                taken.add(os.stat("/proc/" + name).st_uid)
            except OSError:  # it has ended
                pass
    for step in range(1000):
        number = first + (os.getpid() + step) % count
        if number in taken:
            continue
        reservation = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        try:
            reservation.bind(f"\0notifier-script-user-{number}")
        except OSError:
            reservation.close()
            continue
        return number, reservation
    raise Refused("no number of a user is free to run the script as")


def _own_users() -> tuple[int, int]:
    """The first number of the users that runs may have, and how many there are."""
    wanted, enough = _OWN_USERS
    largest = 0, 0
    with open("/proc/self/uid_map", encoding="ascii") as file:
        for line in file:
            inside, _, count = map(int, line.split())
            if inside <= wanted and wanted + enough <= inside + count:
                return _OWN_USERS
            largest = max(largest, (count, inside))
    count, inside = largest
    if count < 8192:
        raise Refused("this container has too few user numbers to give each script its own")
    return inside + count - 6000, 4000  # below the top, where nobody (65534) is


def _known_users() -> list[int]:
    with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        fields = [line.split(":") for line in file]
    return [int(field[2]) for field in fields if len(field) > 2 and field[2].isdigit()]


def _processes() -> dict[int, tuple[int, int]]:
    """Every process that can be seen: its parent, and the processor time of itself and of what it waited for, in ticks."""
    if not _LINUX:
        import subprocess

        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        return {int(line.split()[0]): (int(line.split()[1]), 0) for line in listed.splitlines()}
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name in parentheses may hold anything; counted from its end, field 4 is the first but one.
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:  # it has ended
                continue
            table[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return table


def _descendants(table: dict[int, tuple[int, int]], process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for child, (parent, _) in table.items():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    waiting = [process]
    while waiting:
        following = children.get(waiting.pop(), [])
        found += following
        waiting += following
    return found


def _memory(process: int) -> int:
    """Bytes that a process holds and that no file could give back; shared ones in full."""
    return _kilobytes(f"/proc/{process}/status", (b"RssAnon:", b"RssShmem:")) * 1024


def _exact_memory(process: int) -> int:
    """The same with shared pages divided among those that share them."""
    try:
        return _kilobytes(f"/proc/{process}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:")) * 1024
    except PermissionError:
        return _memory(process)


def _kilobytes(path: str, names: tuple[bytes, ...]) -> int:
    try:
        with open(path, "rb") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(names))
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
