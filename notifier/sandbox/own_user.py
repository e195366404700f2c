"""The user of a run: a number that no other process on this machine has while the script runs.

Standard library only, because the launcher runs without any other package. `pathlib` and `socket` would cost its start
milliseconds.
"""
# ruff: noqa: PTH116, PTH123, PTH208

from __future__ import annotations

import _socket
import os

_PREFERRED = (2_000_000_000, 1_000_000)  # first and how many: above every range that systemd and containers give out
_TRIES = 1000  # numbers that are tried
_MIN_COUNT = 8192  # user numbers that a container must have
_TOP_COUNT = 4000  # of a container's numbers, how many are used
_BELOW_TOP = 6000  # and how far below its top they begin; nobody (65534) lies above


class NoUserFree(OSError):
    """No number is free; the text says why."""


def reserve_user() -> tuple[int, _socket.socket]:
    """A free number, and the socket that keeps it ours until it is closed: one process at a time can bind its name.

    Runs of all processes on this machine must differ, so a counter of our own would not do. Raises NoUserFree.
    """
    first, count = _range()
    taken = set(_known_users())
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                taken.add(os.stat("/proc/" + name).st_uid)
            except OSError:  # it has ended
                pass
    for step in range(_TRIES):
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
    raise NoUserFree("no number of a user is free to run the script as")


def _range() -> tuple[int, int]:
    """The first number that runs may have, and how many there are."""
    wanted, enough = _PREFERRED
    largest = 0, 0
    with open("/proc/self/uid_map", encoding="ascii") as file:
        for line in file:
            inside, _, count = map(int, line.split())
            if inside <= wanted and wanted + enough <= inside + count:
                return _PREFERRED
            largest = max(largest, (count, inside))
    count, inside = largest
    if count < _MIN_COUNT:
        raise NoUserFree("this container has too few user numbers to give each script its own")
    return inside + count - _BELOW_TOP, _TOP_COUNT


def _known_users() -> list[int]:
    with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        fields = [line.split(":") for line in file]
    return [int(field[2]) for field in fields if len(field) > 2 and field[2].isdigit()]
