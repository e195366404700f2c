"""Landlock: the kernel refuses this process, and what it starts, all files but those that a ruleset leaves to it.

Which paths a script keeps is decided by `notifier.sandbox.views`; the order of the steps is the launcher's. Privileges are
given up in `linux`, system calls in `seccomp`, both beside this file.

Standard library only, because the launcher runs without any other package. Importing works everywhere; calling anything
but `version` needs Linux.
"""

from __future__ import annotations

import os
import stat
import struct
import sys

from notifier.sandbox.linux import syscall

TYPE_CHECKING = False  # type checkers know better; the import would cost the launcher milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable

# These three numbers are the same on every architecture (include/uapi/asm-generic/unistd.h of the kernel).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

# Rights on files, with the version of Landlock that brought the last of them (include/uapi/linux/landlock.h).
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILE_RIGHTS = ((1, (1 << 13) - 1), (2, (1 << 14) - 1), (3, (1 << 15) - 1), (5, (1 << 16) - 1))
_TCP_RIGHTS = 0b11  # bind and connect, since version 4
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2  # since version 6
TCP_SINCE = 4
SCOPES_SINCE = 6


def version() -> int:
    """The version of Landlock's interface in the running kernel; 0 where there is none or it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def _create(*, abi: int, files: int, tcp: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", files, tcp, scopes)
    size = 24 if abi >= SCOPES_SINCE else 16 if abi >= TCP_SINCE else 8
    return syscall(_CREATE_RULESET, attributes[:size], size, 0)


def scope_signals() -> None:
    """From now on this process and what it starts can signal only each other. Needs version 6 and `keep_privileges`.

    Processes that it started before are out of reach too. So `kill(-1)` ends exactly those that it starts from now on, all
    at once and wherever they hide.
    """
    enter(_create(abi=SCOPES_SINCE, files=0, tcp=0, scopes=_SCOPE_SIGNALS))


def ruleset(*, abi: int, read: Iterable[str], write: Iterable[str], network: bool) -> int:
    """Rules that leave the paths in `read`, to read and run, and in `write`, and all beneath them; nothing else.

    `abi` is the version to use, at most `version()`. Without `network` there is no TCP either, from version 4; signals
    and abstract sockets reach only what is restricted together, from version 6. A path that does not exist is left out.
    The answer is a descriptor for `enter`. Raises OSError.
    """
    files = next(rights for since, rights in reversed(_FILE_RIGHTS) if abi >= since)
    rules = _create(
        abi=abi,
        files=files,
        tcp=0 if network or abi < TCP_SINCE else _TCP_RIGHTS,
        scopes=_SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if abi >= SCOPES_SINCE else 0,
    )
    for path in read:
        _allow(rules, path, files & (_EXECUTE | _READ_FILE | _READ_DIR))
    for path in write:
        _allow(rules, path, files & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV))
    return rules


def enter(rules: int) -> None:
    """Puts this process under the rules; needs `keep_privileges`. Raises OSError."""
    syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE
        syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)
