"""Order: the messages between Notifier and the launcher, an order at the start and a status at the end.

The launcher reads these types only while it is type checked: `typing` would double its start time.
"""

from typing import TypedDict


class LaunchOrder(TypedDict):
    """The file `order` of the run's folder, as `marshal` writes it: the same interpreter reads it."""

    level: str  # bubblewrap, landlock or off
    folder: str  # the run's own; removed at the end
    command: list[str]  # program and arguments; for bubblewrap the command line of bwrap
    environment: dict[str, str]  # empty for bubblewrap, whose command line holds the script's
    work: str  # folder that the command starts in
    user: str  # keep, own, or the numbers of a user and a group: 1000:1000
    read: list[str]  # paths that Landlock leaves to read
    write: list[str]  # and to write
    network: bool
    abi: int  # version of Landlock to use
    parent: int  # process id of Notifier
    timeout_s: float
    memory_mb: int
    cpu_s: int
    processes: int
    file_bytes: int
    open_files: int


class Status(TypedDict, total=False):
    """The launcher's answer at the end, as `marshal` writes it."""

    ended: str  # exit (by itself), limit, stopped (Notifier closed its end) or refused (it was not started)
    code: int  # with exit: its status; 128 and the signal's number after a signal
    limit: str  # with limit: the name of the limit it was killed for
    error: str  # with refused: why
    cpu_s: float  # seconds of processor time of all its processes
    memory_mb: float  # mebibytes that they had at most
    left: bool  # something it started could not be ended within five seconds
