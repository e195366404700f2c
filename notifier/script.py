"""Script: a small program that people store, which producers and consumers of type `script` run in the sandbox."""

from dataclasses import dataclass
from typing import Literal

Executor = Literal["python", "bash"]


@dataclass(frozen=True, kw_only=True)
class Script:
    """What is run. How it is run, and how little it may do, is `notifier.sandbox`'s."""

    name: str  # of the definition; in errors and logs
    executor: Executor  # what reads the content
    content: str  # the text of the script
