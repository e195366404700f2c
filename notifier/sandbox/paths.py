"""Paths: what a script may read of this machine, and what it may never write to."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import notifier
from notifier.errors import FieldError, InputError
from notifier.settings import Settings, variable

# Folders with programs and libraries that every script may read; those that exist.
SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
# Files and folders of /etc without which programs do not start, resolve names or check certificates.
ETC: Final = (
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
ETC_NETWORK: Final = ("gai.conf", "host.conf", "hosts", "resolv.conf")  # and with the network

# Never writable for a script, nor anything in them.
_NEVER_WRITABLE: Final = (*SYSTEM, "/boot", "/dev", "/etc", "/nix", "/proc", "/run", "/sys", "/var/run")
_NEVER_READABLE: Final = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/run")
_WORK_FOLDERS: Final = "is where all scripts have their work folders"
_HOME: Final = "is a home folder"
_PARTS_ALLOWED: Final = (_WORK_FOLDERS, _HOME)  # a script may be given a folder in these, but not the whole


def check_write_paths(settings: Settings, paths: Sequence[Path]) -> None:
    """Refuses paths that no script may write to: the system's, Notifier's own, and those that hold or lie in them.

    Symlinks are followed. A path need not exist here: the script may run on another machine, and is checked again there.
    Raises InputError, which names `/parameters/write`.
    """
    forbidden = _forbidden(settings)
    errors = []
    for path in paths:
        plain = path.is_absolute() and ".." not in path.parts and "\0" not in str(path)
        problem = _conflict(path, forbidden) if plain else "must be an absolute path without `..`"
        if problem:
            errors.append(FieldError("/parameters/write", f"{path} {problem}; name a folder that is for this alone"))
    if errors:
        raise InputError(errors)


def find_tools(settings: Settings, tools: Sequence[Path]) -> tuple[Path, ...]:
    """The paths of programs that are named, or of the files and folders themselves; those that scripts may read anyway left out.

    Raises InputError, which names `/parameters/tools`, for what is not there, and for what no script may read.
    """
    forbidden = [
        *((Path(path), "is the system's") for path in ("/", *_NEVER_READABLE)),
        *((path, reason) for path, reason in _forbidden(settings) if reason not in ("is the system's", _WORK_FOLDERS)),
    ]
    found, errors = [], []
    for tool in tools:
        known = str(tool) if tool.is_absolute() else shutil.which(str(tool))
        if known is None or not Path(known).exists():
            errors.append(FieldError("/parameters/tools", f"{tool} is not here; install it, or write its path"))
        elif not is_system(Path(known)):
            problem = _conflict(Path(known), forbidden)
            if problem:
                errors.append(FieldError("/parameters/tools", f"{known} {problem}; put it into a folder of its own"))
            found.append(Path(known))
    if errors:
        raise InputError(errors)
    return tuple(found)


def installation() -> list[Path]:
    """The folders that hold Notifier itself: its packages, the environment and the Python they run in."""
    return [Path(notifier.__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix)]


def _forbidden(settings: Settings) -> list[tuple[Path, str]]:
    """Places that no script may write to, each with the reason in words."""
    forbidden = [(Path(path), "is the system's") for path in ("/", *_NEVER_WRITABLE)]
    forbidden += [(path, "holds Notifier itself") for path in installation()]
    forbidden += [
        (settings.data_dir, "is the data folder"),
        (settings.cache_dir, "is the folder of downloads"),
        (Path(tempfile.gettempdir()), _WORK_FOLDERS),
    ]
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises for a user without one
    if home != "~":
        forbidden.append((Path(home), _HOME))
    return forbidden


def _conflict(path: Path, forbidden: Sequence[tuple[Path, str]]) -> str | None:
    """Why a script may not write to the path, as it is written and with symlinks followed; None if it may."""
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


def exposed_data(settings: Settings, prefixes: Iterable[str]) -> str | None:
    """Why scripts could read the data folder; None if they could not. `prefixes` are folders of interpreters."""
    data = settings.data_dir.resolve()
    for place in (*SYSTEM, *prefixes):
        if data.is_relative_to(Path(place).resolve()):
            name = variable("data_dir")
            return f"the data folder {data} lies in {place}, which scripts may read; set {name} to a folder elsewhere"
    return None


def is_system(path: Path) -> bool:
    """Whether every script may read the path anyway."""
    return any(path.resolve().is_relative_to(Path(system).resolve()) for system in SYSTEM)


def scratch_folder() -> str:
    """Where the folders of runs are made: if possible on the file system of `/`, so that `df /` in a script tells of it."""
    usual = tempfile.gettempdir()
    for folder in (usual, "/var/tmp"):  # noqa: S108 - only mkdtemp makes folders in it
        try:
            if os.stat(folder).st_dev == os.stat("/").st_dev and os.access(folder, os.W_OK | os.X_OK):  # noqa: PTH116
                return folder
        except OSError:  # it does not exist
            continue
    return usual
