"""Limits: what one run of a script may use, and what it is allowed beyond the rule."""

from dataclasses import dataclass
from pathlib import Path

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ScriptLimits:
    """The limits of one run. A script that reaches one is killed with all it started, and has failed."""

    timeout_s: float = 30.0  # by the clock on the wall
    memory_mb: int = 256  # mebibytes of all its processes together; a single one may reserve twice that
    cpu_s: int = 30  # processor time of all its processes together
    processes: int = 64  # at the same time
    output_bytes: int = 10 * _MEBIBYTE  # of standard output, and again of standard error
    line_bytes: int = 10 * _MEBIBYTE  # longest line of standard output; a JSON array may well be one line
    stderr_bytes: int = 64 * 1024  # end of standard error that is kept
    file_bytes: int = 64 * _MEBIBYTE  # its work folder, and any single file it writes
    open_files: int = 256  # of each process
    network: bool = False  # whether it may use the network
    tools: tuple[Path, ...] = ()  # names of programs, or paths, that it may read besides the system; see `find_tools`
    write: tuple[Path, ...] = ()  # files and folders that it may write to; see `check_write_paths`

    def in_words(self, limit: str) -> str:
        """What a script did that reached the limit of that name, to be read behind the script's name."""
        match limit:
            case "memory_mb":
                return f"used more than its {self.memory_mb} MB of memory (memory_mb)"
            case "cpu_s":
                return f"used more than its {self.cpu_s} s of processor time (cpu_s)"
            case "processes":
                return f"had more than its {self.processes} processes (processes)"
            case _:
                return f"wrote more than its {self.file_bytes} bytes, or too many files ({limit})"
