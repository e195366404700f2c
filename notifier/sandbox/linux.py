"""Linux calls that Python does not offer: system calls by number, `prctl`, and giving up privileges for good.

All of them change the calling process only, cannot be undone, and are inherited by the processes that it starts. Files and
sockets are shut by `landlock`, system calls by `seccomp`, both beside this file; the order of the steps is the launcher's.

Standard library only, because the launcher runs without any other package. Importing works everywhere; calling needs Linux.
"""

from __future__ import annotations

import ctypes
import os
import struct

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP = 1, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_CAPABILITY_VERSION_3 = 0x20080522
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """A system call by its number, through the C library. Raises OSError."""
    # A ctypes int is 32 bits wide unless told otherwise, and `syscall` takes longs.
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise _last_error()
    return result


def prctl(option: int, *arguments: int) -> None:
    """Changes one attribute of this process. Raises OSError."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    if _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(value) for value in padded)) < 0:
        raise _last_error()


def _last_error() -> OSError:
    error = ctypes.get_errno()
    return OSError(error, os.strerror(error))


def keep_privileges() -> None:
    """From now on set-uid programs give no privileges. Landlock and seccomp demand it."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_set() -> None:
    """From now on no program that this process starts gets a capability; only root had any to give."""
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # not root, or the first number that this kernel has no capability for
            return


def drop_capabilities() -> None:
    """Gives up every capability, root's too. Raises OSError."""
    drop_bounding_set()
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    if _libc.capset(header, bytes(24)) < 0:
        raise _last_error()


def adopt_orphans() -> None:
    """Makes this process the child subreaper: descendants that lose their parent become its children."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends. A later change of user undoes it."""
    prctl(_PR_SET_PDEATHSIG, _SIGKILL)
