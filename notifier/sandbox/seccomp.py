"""Seccomp: the filter of system calls that a script lives under, as a program for the kernel's small machine.

The filter shuts what neither Landlock nor namespaces govern: sockets, set-uid files, namespaces of a script's own, memory
and queues that outlive it. Rights on files are `landlock`'s, beside this file; the order of the steps is the launcher's.

Standard library only, because the launcher runs without any other package. Importing works everywhere; `apply_filter` needs
Linux.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

from notifier.sandbox.linux import prctl

TYPE_CHECKING = False  # type checkers know better; the import would cost the launcher milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

# System calls by architecture: x86_64, aarch64; None where it does not have the call.
_MACHINES = {"x86_64": 0, "aarch64": 1, "arm64": 1}
_AUDIT_ARCHITECTURE = (0xC000003E, 0xC00000B7)
_SOCKET = (41, 198)
_CLONE = (56, 220)
_SETPRIORITY = (141, 140)

# Answered with "not permitted", in every sandbox.
_NEVER: tuple[tuple[int | None, int | None], ...] = (
    (101, 117),  # ptrace
    (310, 270),  # process_vm_readv
    (311, 271),  # process_vm_writev
    (312, 272),  # kcmp
    (438, 438),  # pidfd_getfd
    (440, 440),  # process_madvise
    (250, 219),  # keyctl: the keys of the user that runs Notifier
    (248, 217),  # add_key
    (249, 218),  # request_key
    (321, 280),  # bpf
    (298, 241),  # perf_event_open
    (323, 282),  # userfaultfd
    (425, 425),  # io_uring_setup: it opens sockets past this filter
    (426, 426),  # io_uring_enter
    (427, 427),  # io_uring_register
    (272, 97),  # unshare: in a user namespace of its own a script could mount file systems without a limit of size
    (308, 268),  # setns
    (165, 40),  # mount
    (166, 39),  # umount2
    (155, 41),  # pivot_root
    (161, 51),  # chroot
    (428, 428),  # open_tree
    (429, 429),  # move_mount
    (430, 430),  # fsopen
    (431, 431),  # fsconfig
    (432, 432),  # fsmount
    (433, 433),  # fspick
    (442, 442),  # mount_setattr
    (467, 467),  # open_tree_attr
    (304, 265),  # open_by_handle_at
    (29, 194),  # shmget: its segments outlive the script, as do the objects of the three below
    (64, 190),  # semget
    (68, 186),  # msgget
    (240, 180),  # mq_open
)
# Answered with "no such call", for which programs have another way.
_UNKNOWN: tuple[tuple[int | None, int | None], ...] = (
    (435, 435),  # clone3: a filter cannot see its flags
    (319, 279),  # memfd_create: memory that belongs to no process and so to no limit
    (447, 447),  # memfd_secret
    (437, 437),  # openat2: a filter cannot see its mode
)
# No set-uid file may be made: in a write path it stays, and its owner may be root. Each row: the call, the place of the
# argument that is the mode and, for calls that make files only sometimes, the place of the flags that say so.
_MODES: tuple[tuple[tuple[int | None, int | None], int, int | None], ...] = (
    ((90, None), 1, None),  # chmod
    ((91, 52), 1, None),  # fchmod
    ((268, 53), 2, None),  # fchmodat
    ((452, 452), 2, None),  # fchmodat2
    ((133, None), 1, None),  # mknod
    ((259, 33), 2, None),  # mknodat
    ((85, None), 1, None),  # creat
    ((2, None), 2, 1),  # open
    ((257, 56), 3, 2),  # openat
)
_SET_ID = 0o6000  # the bits of a mode that make a program run as its owner or group
_MAKES_FILE = 0o20000100  # O_CREAT, and the bit of O_TMPFILE alone
# Owners and modes of files: Landlock does not govern them, so the filter must where the script's user is Notifier's.
_SAME_USER: tuple[tuple[int | None, int | None], ...] = (
    (90, None),  # chmod
    (91, 52),  # fchmod
    (268, 53),  # fchmodat
    (452, 452),  # fchmodat2
    (92, None),  # chown
    (93, 55),  # fchown
    (94, None),  # lchown
    (260, 54),  # fchownat
    (188, 5),  # setxattr
    (189, 6),  # lsetxattr
    (190, 7),  # fsetxattr
    (463, 463),  # setxattrat
    (197, 14),  # removexattr
    (198, 15),  # lremovexattr
    (199, 16),  # fremovexattr
    (466, 466),  # removexattrat
    (251, 30),  # ioprio_set
)
# Where the script's user is Notifier's: allowed only for the caller itself, whose process id is then 0.
_SAME_USER_SELF_ONLY: tuple[tuple[int, int], ...] = (
    (302, 261),  # prlimit64
    (203, 122),  # sched_setaffinity
    (144, 119),  # sched_setscheduler
    (142, 118),  # sched_setparam
    (314, 274),  # sched_setattr
)
_TRUNCATE_CALL: tuple[int | None, int | None] = (76, 45)  # by name
_TRUNCATE_SINCE = 3  # version of Landlock that governs it
# Sending signals: refused where the script's user is Notifier's and Landlock does not govern them.
_SIGNALS: tuple[tuple[int | None, int | None], ...] = (
    (62, 129),  # kill
    (200, 130),  # tkill
    (234, 131),  # tgkill
    (129, 138),  # rt_sigqueueinfo
    (297, 240),  # rt_tgsigqueueinfo
    (424, 424),  # pidfd_send_signal
)
_SIGNALS_SINCE = 6  # version of Landlock that governs them

_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW… flag of clone
_AF_INET, _AF_INET6, _AF_NETLINK = 2, 10, 16
_EPERM, _EACCES, _ENOSYS = 1, 13, 38

# Instructions of the filter machine (linux/bpf_common.h), and the offsets of the fields that it can load.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _ANSWER = 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # system calls of x86_64's 32-bit sibling, which have other numbers


def machine_known() -> bool:
    """Whether the filter knows this machine's system calls."""
    return sys.platform.startswith("linux") and os.uname().machine in _MACHINES and sys.maxsize > 2**32


def call_filter(*, network: bool, same_user: bool, abi: int) -> bytes:
    """The filter that a script lives under, as the kernel and `bwrap --seccomp` take it.

    Without `network` no socket of any kind can be opened; with it only internet sockets (Unix sockets stay shut: they lead
    to the Docker daemon, to databases and to the system's own services). `same_user`: the script's user is Notifier's.
    `abi`: the version of Landlock in force beside the filter; 0 for none, behind namespaces.
    """
    program = _Program(_MACHINES[os.uname().machine])
    program.check_architecture()
    program.refuse(_NEVER, _EPERM)
    program.refuse(_UNKNOWN, _ENOSYS)
    if same_user:
        program.refuse(_SAME_USER, _EPERM)
        for call in _SAME_USER_SELF_ONLY:
            program.refuse_unless_zero(call, 0)
        # Allowed for the caller (0), named by process id (0) and not by user.
        program.refuse_unless_zero(_SETPRIORITY, 0, 1)
        if abi and abi < _TRUNCATE_SINCE:
            program.refuse((_TRUNCATE_CALL,), _EPERM)
        if abi and abi < _SIGNALS_SINCE:
            program.refuse(_SIGNALS, _EPERM)
    for call_with_mode, mode, flags in _MODES:
        program.refuse_set_id(call_with_mode, mode, flags)
    program.refuse_sockets_but((_AF_INET, _AF_INET6, _AF_NETLINK) if network else ())
    program.refuse_new_namespaces()
    return program.assembled()


class _Program:
    """Instructions for the kernel's filter machine, on one architecture.

    An instruction is (code, instructions to skip if true, if false, operand). Outside the methods below the number of the
    system call is loaded, for the next comparison.
    """

    def __init__(self, machine: int) -> None:
        self._machine = machine
        self._instructions: list[tuple[int, int, int, int]] = []

    def assembled(self) -> bytes:
        """The program in the kernel's binary form."""
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in self._instructions)

    def check_architecture(self) -> None:
        """Refuses calls of other architectures, whose numbers mean something else, and loads the number."""
        self._add(
            (_LOAD, 0, 0, _ARCHITECTURE_AT),
            (_JUMP_EQUAL, 1, 0, _AUDIT_ARCHITECTURE[self._machine]),
            _answer(_ENOSYS),
            (_LOAD, 0, 0, _NUMBER_AT),
        )
        if self._machine == 0:
            self._add((_JUMP_AT_LEAST, 0, 1, _X32), _answer(_ENOSYS))

    def refuse(self, calls: Iterable[Sequence[int | None]], code: int) -> None:
        """Answers the calls with an error."""
        for call in calls:
            number = call[self._machine]
            if number is not None:
                self._add((_JUMP_EQUAL, 0, 1, number), _answer(code))

    def refuse_unless_zero(self, call: tuple[int, int], *arguments: int) -> None:
        """Refuses a call unless these arguments are 0. Sees their lower halves only, which is all a process id has."""
        self._add((_JUMP_EQUAL, 0, 3 * len(arguments) + 1, call[self._machine]))
        for argument in arguments:
            self._add((_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument), (_JUMP_EQUAL, 1, 0, 0), _answer(_EPERM))
        self._add(_answer(0))

    def refuse_set_id(self, call: Sequence[int | None], mode: int, flags: int | None) -> None:
        """Refuses a call that gives a file a set-uid or set-gid bit; `mode` and `flags` are places of arguments."""
        number = call[self._machine]
        if number is None:
            return
        makes_file = []
        if flags is not None:
            makes_file = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * flags), (_JUMP_ANY_BIT, 0, 2, _MAKES_FILE)]
        self._add(
            (_JUMP_EQUAL, 0, len(makes_file) + 4, number),
            *makes_file,
            (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * mode),
            (_JUMP_ANY_BIT, 1, 0, _SET_ID),
            _answer(0),
            _answer(_EPERM),
        )

    def refuse_sockets_but(self, families: Sequence[int]) -> None:
        """Refuses sockets of all other families."""
        self._add((_JUMP_EQUAL, 0, 2 + 2 * len(families), _SOCKET[self._machine]), (_LOAD, 0, 0, _ARGUMENTS_AT))
        for family in families:
            self._add((_JUMP_EQUAL, 0, 1, family), _answer(0))
        self._add(_answer(_EACCES))

    def refuse_new_namespaces(self) -> None:
        """Refuses `clone` with a namespace of its own, and allows every call that is left: the last of all rules."""
        self._add(
            (_JUMP_EQUAL, 0, 3, _CLONE[self._machine]),
            (_LOAD, 0, 0, _ARGUMENTS_AT),
            (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES),
            _answer(_EPERM),
            _answer(0),
        )

    def _add(self, *instructions: tuple[int, int, int, int]) -> None:
        self._instructions += instructions


def _answer(code: int) -> tuple[int, int, int, int]:
    """Ends the program: the call goes on with code 0, and else returns this error."""
    return (_RETURN, 0, 0, _ALLOW if code == 0 else _ANSWER | code)


def apply_filter(program: bytes) -> None:
    """Puts this process under a filter of `call_filter`; needs `keep_privileges`. Raises OSError."""
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    address = ctypes.create_string_buffer(described, len(described))
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(address))
