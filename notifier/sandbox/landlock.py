"""How a Linux process gives up rights for good: Landlock, a system call filter, capabilities, privileges to gain.

Everything here changes the calling process only, cannot be taken back and is inherited by whatever it starts. Which
rights a script keeps is decided by `notifier.sandbox`; the order of the steps is the launcher's.

Only the standard library, because the launcher runs without any other; the calls go through the C library's `syscall`,
because no Python offers them. Importing works everywhere; calling anything but `version` and `machine_known` needs Linux.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys

TYPE_CHECKING = False  # type checkers know better; the import would cost the launcher milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# The numbers of these three are the same on every architecture (include/uapi/asm-generic/unistd.h of the kernel).
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

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_CAPABILITY_VERSION_3 = 0x20080522
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    # A ctypes int is 32 bits wide unless told otherwise, and `syscall` takes longs.
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _prctl(option: int, *arguments: int) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    if _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(value) for value in padded)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def version() -> int:
    """The version of Landlock's interface in the running kernel; 0 where there is none or it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def _create(*, abi: int, files: int, tcp: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", files, tcp, scopes)
    size = 24 if abi >= SCOPES_SINCE else 16 if abi >= TCP_SINCE else 8
    return _syscall(_CREATE_RULESET, attributes[:size], size, 0)


def scope_signals() -> None:
    """From now on this process and what it starts can signal only each other. Needs version 6 and `keep_privileges`.

    What it started before is out of reach too. So `kill(-1)` ends exactly what it starts from now on, all at once and
    however that hides.
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
    _syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE
        _syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def keep_privileges() -> None:
    """No program that is started from now on gains rights by being set-uid. Landlock and the filter ask for it."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_set() -> None:
    """Takes care that no program this process starts gets a capability; of any effect only for root."""
    for capability in range(64):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # not root, or the first number that this kernel has no capability for
            return


def drop_capabilities() -> None:
    """Gives up every capability, of root too. Raises OSError."""
    drop_bounding_set()
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    if _libc.capset(header, bytes(24)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process, so that none gets out of its sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends. A change of user afterwards undoes it."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


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
    (29, 194),  # shmget: what it makes outlives the script, as with the three below
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
# A file that runs as its owner must not come to be, for in a write path it stays, and its owner may be root. For each
# call the argument that is the mode and, for those that make files only sometimes, the one that says so.
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
_MAKES_FILE = 0o20000100  # O_CREAT, and what is O_TMPFILE's own
# Landlock does not govern who owns a file and its mode; where the script's user is Notifier's, the filter must.
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
# With the script's user Notifier's: allowed only for the caller itself, whose process id is then 0.
_SAME_USER_SELF_ONLY: tuple[tuple[int, int], ...] = (
    (302, 261),  # prlimit64
    (203, 122),  # sched_setaffinity
    (144, 119),  # sched_setscheduler
    (142, 118),  # sched_setparam
    (314, 274),  # sched_setattr
)
_TRUNCATE_CALL: tuple[int | None, int | None] = (76, 45)  # by name: governed by Landlock since version 3
# Sending signals: governed by Landlock since version 6, and until then not at all where the user is the same.
_SIGNALS: tuple[tuple[int | None, int | None], ...] = (
    (62, 129),  # kill
    (200, 130),  # tkill
    (234, 131),  # tgkill
    (129, 138),  # rt_sigqueueinfo
    (297, 240),  # rt_tgsigqueueinfo
    (424, 424),  # pidfd_send_signal
)

_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW… flag of clone
_AF_INET, _AF_INET6, _AF_NETLINK = 2, 10, 16
_EPERM, _EACCES, _ENOSYS = 1, 13, 38

# Instructions of the filter's little machine (linux/bpf_common.h), and where in what it is shown the fields lie.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _ANSWER = 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # system calls of x86_64's 32-bit sibling, which have other numbers


def machine_known() -> bool:
    """Whether the filter knows this machine's system calls."""
    return sys.platform.startswith("linux") and os.uname().machine in _MACHINES and sys.maxsize > 2**32


def call_filter(*, network: bool, same_user: bool, abi: int) -> bytes:
    """The filter that a script lives under, as the kernel and `bwrap --seccomp` take it.

    Without `network` no socket can be opened, of whatever kind; with it only internet sockets (Unix sockets stay shut:
    they lead to the Docker daemon, to databases and to the system's own services). `same_user`: the script's user is
    Notifier's. `abi`: the version of Landlock that is in force beside the filter; 0 for none, behind namespaces.
    """
    machine = _MACHINES[os.uname().machine]
    program: list[tuple[int, int, int, int]] = []

    def answer(code: int) -> tuple[int, int, int, int]:
        return (_RETURN, 0, 0, _ALLOW if code == 0 else _ANSWER | code)

    def refuse(calls: Iterable[Sequence[int | None]], code: int) -> None:
        for call in calls:
            number = call[machine]
            if number is not None:
                program.extend([(_JUMP_EQUAL, 0, 1, number), answer(code)])

    def unless_zero(call: tuple[int, int], *arguments: int) -> None:
        # Sees the lower halves of the arguments only, which is all that a process id has.
        program.append((_JUMP_EQUAL, 0, 3 * len(arguments) + 1, call[machine]))
        for argument in arguments:
            program.append((_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument))
            program.extend([(_JUMP_EQUAL, 1, 0, 0), answer(_EPERM)])
        program.append(answer(0))

    def refuse_set_id(call: Sequence[int | None], mode: int, flags: int | None) -> None:
        number = call[machine]
        if number is None:
            return
        makes_file = []
        if flags is not None:
            makes_file = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * flags), (_JUMP_ANY_BIT, 0, 2, _MAKES_FILE)]
        program.extend(
            [
                (_JUMP_EQUAL, 0, len(makes_file) + 4, number),
                *makes_file,
                (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * mode),
                (_JUMP_ANY_BIT, 1, 0, _SET_ID),
                answer(0),
                answer(_EPERM),
            ]
        )

    program.extend(
        [
            (_LOAD, 0, 0, _ARCHITECTURE_AT),
            (_JUMP_EQUAL, 1, 0, _AUDIT_ARCHITECTURE[machine]),
            answer(_ENOSYS),
            (_LOAD, 0, 0, _NUMBER_AT),
        ]
    )
    if machine == 0:
        program.extend([(_JUMP_AT_LEAST, 0, 1, _X32), answer(_ENOSYS)])
    refuse(_NEVER, _EPERM)
    refuse(_UNKNOWN, _ENOSYS)
    if same_user:
        refuse(_SAME_USER, _EPERM)
        for own in _SAME_USER_SELF_ONLY:
            unless_zero(own, 0)
        unless_zero(_SETPRIORITY, 0, 1)  # the caller (0) of what is named by process id (0), not by user
        if abi and abi < 3:
            refuse((_TRUNCATE_CALL,), _EPERM)
        if abi and abi < SCOPES_SINCE:
            refuse(_SIGNALS, _EPERM)
    for call, mode, flags in _MODES:
        refuse_set_id(call, mode, flags)
    families = (_AF_INET, _AF_INET6, _AF_NETLINK) if network else ()
    program.append((_JUMP_EQUAL, 0, 2 + 2 * len(families), _SOCKET[machine]))
    program.append((_LOAD, 0, 0, _ARGUMENTS_AT))
    for family in families:
        program.extend([(_JUMP_EQUAL, 0, 1, family), answer(0)])
    program.append(answer(_EACCES))
    program.extend(
        [
            (_JUMP_EQUAL, 0, 3, _CLONE[machine]),
            (_LOAD, 0, 0, _ARGUMENTS_AT),
            (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES),
            answer(_EPERM),
            answer(0),
        ]
    )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def apply_filter(program: bytes) -> None:
    """Puts this process under a filter of `call_filter`; needs `keep_privileges`. Raises OSError."""
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    address = ctypes.create_string_buffer(described, len(described))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(address))
