"""Machine: what this machine offers to shut scripts in with, found once by `notifier.sandbox.detection`."""

from collections.abc import Mapping
from dataclasses import dataclass

from notifier.sandbox.interpreters import Interpreter
from notifier.script import Executor
from notifier.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The means of this machine and installation that every run uses."""

    settings: Settings
    interpreters: Mapping[Executor, Interpreter]
    landlock_version: int  # to use; 0 where there is none
    scratch: str  # folder that the folders of runs are made in
    bwrap: str = ""  # path of the program; empty where it is not used
    own_user: bool = False  # whether each run gets a user of its own

    @property
    def prefixes(self) -> list[str]:
        """Folders of interpreters that scripts must be shown besides the system's."""
        return [interpreter.prefix for interpreter in self.interpreters.values() if interpreter.prefix]
