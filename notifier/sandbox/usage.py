"""Usage: what a script and all it started may take of the machine, and what they take, as the kernel counts it.

Some limits the kernel keeps for each process (`set_limits`); those on all processes together are counted here, by the
launcher, while the script runs (`reached_limit`).

Standard library only, because the launcher runs without any other package. `pathlib` would cost its start milliseconds.
"""
# ruff: noqa: PTH110, PTH116, PTH123, PTH208

from __future__ import annotations

import os
import sys

try:
    import resource
except ImportError:  # not Unix: nothing here works there, but importing must
    pass

TYPE_CHECKING = False  # type checkers know better; saves importing `typing`
if TYPE_CHECKING:
    from notifier.sandbox.order import LaunchOrder

_MEBIBYTE = 1024 * 1024
_GIBIBYTE = 1024 * _MEBIBYTE
BWRAP_PROCESSES = 2  # that bwrap itself is
_LINUX = sys.platform.startswith("linux")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_MAX_FILES = 5_000  # that one run may have in its own folder
_BLOCK_BYTES = 512  # unit of `st_blocks`

_seen = [0]  # the most bytes that all descendants of this process held together, as they were looked at

# By process id: the parent, and the processor time of the process and of the children it waited for, in ticks.
ProcessTable = dict[int, tuple[int, int]]


def set_limits(order: LaunchOrder, processes: int | None) -> None:
    """Sets this process's own limits, which its children inherit. `processes`: of its user; None: as here."""
    for name, value in (
        # Reserved memory counts here, and a thread reserves much; memory in use is `reached_limit`'s to judge.
        ("RLIMIT_DATA", 2 * order["memory_mb"] * _MEBIBYTE),
        ("RLIMIT_AS", 2 * order["memory_mb"] * _MEBIBYTE + _GIBIBYTE),
        ("RLIMIT_CPU", order["cpu_s"]),  # of each process; a second later it is killed
        ("RLIMIT_FSIZE", order["file_bytes"]),
        ("RLIMIT_NOFILE", order["open_files"]),
        ("RLIMIT_NPROC", processes),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
    ):
        if value is not None and hasattr(resource, name):
            _set_limit(getattr(resource, name), value)


def _set_limit(name: int, value: int) -> None:
    _, highest = resource.getrlimit(name)
    hard = value + 1 if name == resource.RLIMIT_CPU else value  # SIGXCPU first: it says what the limit was
    if highest != resource.RLIM_INFINITY:
        value, hard = min(value, highest), min(hard, highest)
    try:
        resource.setrlimit(name, (value, hard))
    except (ValueError, OSError):  # this system does not have it in this form (macOS: RLIMIT_AS)
        pass


def reached_limit(order: LaunchOrder, inner: int) -> str | None:
    """The name of the limit that all descendants of this process have reached together; None if there is none.

    `inner` is, under bubblewrap, the first process of the namespace.
    """
    in_bubblewrap = order["level"] == "bubblewrap"
    table = processes()
    members = descendants(table, os.getpid())
    if len(members) - (BWRAP_PROCESSES if in_bubblewrap else 0) > order["processes"]:
        return "processes"
    if _exceed_memory(members, order["memory_mb"] * _MEBIBYTE):
        return "memory_mb"
    running_s = sum(table[member][1] for member in members) / _TICKS_PER_S
    if running_s + ended_s() > order["cpu_s"]:
        return "cpu_s"
    full = _namespace_is_full(inner) if in_bubblewrap else _folder_is_full(order["work"], order["file_bytes"])
    return "file_bytes" if full else None


def ended_s() -> float:
    """The seconds of processor time that the descendants of this process took which have ended and were waited for."""
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    return waited_for.ru_utime + waited_for.ru_stime


def most_mb() -> float:
    """The mebibytes that the largest descendant had which has ended and was waited for; or all together, where more was seen."""
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    return max(waited_for.ru_maxrss / (1024 if _LINUX else _MEBIBYTE), _seen[0] / _MEBIBYTE)


def processes() -> ProcessTable:
    """Every process that can be seen."""
    if not _LINUX:
        import subprocess

        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        return {int(line.split()[0]): (int(line.split()[1]), 0) for line in listed.splitlines()}
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name in parentheses may hold anything. After it, field 1 is the parent, 11 to 14 are the times.
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:  # it has ended
                continue
            table[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return table


def descendants(table: ProcessTable, process: int) -> list[int]:
    """The children of a process, their children, and so on."""
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


def _exceed_memory(members: list[int], limit: int) -> bool:
    """Whether the processes together hold more than that many bytes; shared memory counts once."""
    # The quick sum counts pages that a fork shares more than once, so the exact one has the last word.
    held = sum(map(_memory, members))
    if held > limit:
        held = sum(map(_exact_memory, members))
    _seen[0] = max(_seen[0], held)
    return held > limit


def _memory(process: int) -> int:
    """Bytes that a process holds and that no file could give back; shared ones in full."""
    return _kilobytes(f"/proc/{process}/status", (b"RssAnon:", b"RssShmem:")) * 1024


def _exact_memory(process: int) -> int:
    """The same with shared pages divided among the processes that share them."""
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


def _folder_is_full(folder: str, file_bytes: int) -> bool:
    """Whether a folder holds more than that many bytes, or more files than one run may have."""
    files = size = 0
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    if files > _MAX_FILES or size > file_bytes:
                        return True
        except FileNotFoundError:
            continue
        except PermissionError:  # its own mode forbids it; the files in it were counted or will be
            continue
        except OSError:  # a name too long: no script needs folders that deep
            return True
    return False


def _namespace_is_full(process: int) -> bool:
    """Whether `/tmp` of a process under bubblewrap holds more files than one run may have; its bytes the kernel limits."""
    # Each file takes memory, and bwrap cannot limit their number.
    try:
        # One descriptor for all questions: while bwrap is at work the name means this machine's own folder first.
        folder = os.open(f"/proc/{process}/root/tmp", os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is not there yet, or no longer
        return False
    try:
        space = os.statvfs(folder)
        ours = os.path.exists("/tmp") and os.fstat(folder).st_dev == os.stat("/tmp").st_dev  # noqa: S108
        return not ours and space.f_files - space.f_ffree > _MAX_FILES
    finally:
        os.close(folder)
