"""Script: a small program that people store, which producers and consumers of type `script` run in the sandbox."""

from dataclasses import dataclass
from typing import Literal

Executor = Literal["python", "bash"]


@dataclass(frozen=True, kw_only=True)
class Script:
    """A stored script. How it is run is `notifier.sandbox`'s."""

    name: str  # of the definition; in errors and logs
    executor: Executor  # the interpreter
    content: str  # the text of the script
