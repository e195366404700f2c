"""Level: how well scripts are shut in on this machine."""

from enum import StrEnum


class Level(StrEnum):
    """What shuts scripts in. `detect_sandbox` tries the first two, strongest first; there is no silent step down."""

    # Namespaces of its own, by the program bwrap: files, processes, network; a read-only system, nothing else of this
    # machine's files.
    bubblewrap = "bubblewrap"
    # No namespaces (as in most containers): the kernel refuses other files, sockets and signals to others.
    landlock = "landlock"
    # Only limits and the kill; only where none of the above is possible and NOTIFIER_SCRIPT_SANDBOX=off.
    off = "off"
    # Scripts are refused.
    none = "none"
