"""Interpreters: what runs scripts, bash and Python, and the environment that they start with."""

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from notifier.sandbox.paths import is_system
from notifier.script import Executor

SEARCH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")  # of PATH


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """What runs scripts of one kind."""

    path: str
    options: tuple[str, ...] = ()
    prefix: str | None = None  # its folder, where scripts cannot read that anyway
    private: bool = False  # whether other users cannot get at it


def find_interpreters(python: Path | None) -> dict[Executor, Interpreter]:
    """Bash and Python of the system, or else the Python that runs Notifier. `python` takes the place of both."""
    found: dict[Executor, Interpreter] = {}
    bash = _find("bash")
    if bash is not None:
        found["bash"] = Interpreter(path=bash)
    # macOS has a /usr/bin/python3 that only offers to install one.
    system = _find("python3") if python is None and sys.platform.startswith("linux") else None
    # -I: nothing from the environment or the current folder; -B: nowhere to write compiled files to.
    options = ("-I", "-B")
    if system is not None:
        found["python"] = Interpreter(path=system, options=options)
        return found
    path = python or Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if path.exists():
        path = path.resolve()
        prefix = path.parent.parent
        found["python"] = Interpreter(
            path=str(path),
            options=options,
            prefix=None if is_system(path) else str(prefix),
            private=not _open_to_all(path),
        )
    return found


def _find(name: str) -> str | None:
    for folder in SEARCH:
        path = Path(folder, name)
        if os.access(path, os.X_OK) and (is_system(path) or not sys.platform.startswith("linux")):
            return str(path)
    return None


def _open_to_all(path: Path) -> bool:
    """Whether every user can get at a file: each folder above it can be searched by others."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents))


def environment(home: str, interpreters: Mapping[Executor, Interpreter]) -> dict[str, str]:
    """The environment variables of a script, all of them."""
    ours = [f"{interpreter.prefix}/bin" for interpreter in interpreters.values() if interpreter.prefix]
    return {"PATH": ":".join([*ours, *SEARCH]), "HOME": home, "LANG": "C.UTF-8", "TMPDIR": home}
