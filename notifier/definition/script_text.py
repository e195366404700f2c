"""Script text: what a script's text says about itself, and what editors put into it unseen."""

import re  # for our own constant patterns; never for a person's
from pathlib import PurePosixPath

from notifier.script import Executor

_PROGRAMS: tuple[tuple[str, Executor], ...] = ((r"python(3(\.[0-9]+)?)?", "python"), (r"bash|sh|dash", "bash"))
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*")


def with_plain_line_ends(text: str) -> str:
    """The text without a byte order mark, each line ended by a line feed. Bash takes a carriage return for part of a word."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def executor_of(text: str) -> Executor | None:
    """What runs a script by its first line (`#!/usr/bin/env python3`); None: it names nothing that runs scripts here."""
    program, _ = _first_line(text)
    return next((executor for pattern, executor in _PROGRAMS if re.fullmatch(pattern, program)), None)


def check_first_line(text: str, executor: Executor | None) -> None:
    """Raises ValueError where the first line asks for something else than `executor`; None: that is wrong itself."""
    program, options = _first_line(text)
    if not program or executor is None:
        return
    named = executor_of(text)
    if named is None:
        raise ValueError(
            f"begins with a line that names {program[:50]!r}, which runs no script here; python and bash do"
        )
    if named != executor:
        raise ValueError(f"begins with a line that names {program!r}; write `executor: {named}`, or take the line out")
    if named == "bash" and options:
        raise ValueError(
            f"begins with a line that gives {program} the options {options[:50]!r}, which have no effect here; "
            "write `set` with them in the second line"
        )


def _first_line(text: str) -> tuple[str, str]:
    """The program that the first line names, and its options; empty where it names none."""
    line = text.partition("\n")[0]
    words = line.removeprefix("#!").split() if line.startswith("#!") else []
    if words and PurePosixPath(words[0]).name == "env":
        words = words[1:]
        while words and (words[0].startswith("-") or _ASSIGNMENT.fullmatch(words[0])):
            words = words[1:]
    if not words:
        return "", ""
    return PurePosixPath(words[0]).name, " ".join(word for word in words[1:] if word not in ("-", "--"))
