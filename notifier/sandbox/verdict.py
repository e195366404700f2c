"""Verdict: how the end of a run becomes a result or an error."""

import re  # for our own constant patterns; never for a person's
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from notifier.errors import SandboxUnavailable, ScriptBroken, ScriptFailed, ScriptTimeout
from notifier.one_line import one_line
from notifier.sandbox.limits import ScriptLimits

if TYPE_CHECKING:
    from notifier.sandbox.order import Status

# Of a script that bash reads from its file: with `eval` or `-c` its line begins otherwise.
_BASH_SYNTAX = re.compile(
    r"^(?!.*: (?:eval|-c): line )[^\n]*: line [0-9]+: (?:syntax error near |syntax error: unexpected end of file"
    r"|unexpected EOF while looking for matching )",
    re.MULTILINE,
)
_PYTHON_SYNTAX = re.compile("(?:SyntaxError|IndentationError|TabError): ")
_PYTHON_IMPORT = re.compile("(?:ModuleNotFoundError: No module named |ImportError: cannot import name )")
_PASSES = re.compile("Text file busy|Cannot allocate memory|Resource temporarily unavailable")
_LEAST_SECRET = 4  # characters; shorter ones would be found everywhere, and guessed anyway
_LAST_LINE_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a run has used. Without processor time and memory where the launcher could not say."""

    elapsed_s: float  # start and end included
    cpu_s: float | None  # of all its processes
    memory_mb: float | None  # mebibytes that they had at most, as it was looked at


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is known when a run has ended."""

    status: "Status | None"  # by the launcher; None: it was killed before it could say one
    too_much: str | None  # what the script printed too much of, in words, if it was ended for that
    stdout: bytes
    stderr: str  # the end of it, with secrets masked


def judge(name: str, limits: ScriptLimits, ending: Ending) -> None:
    """Raises what the end of the run of a script calls for; returns if it succeeded.

    ScriptTimeout after `timeout_s`, SandboxUnavailable where it could not be started, ScriptBroken where another try would end
    the same, ScriptFailed for everything else.
    """
    subject = f"script {name!r}"
    status, stderr = ending.status, ending.stderr
    if ending.too_much:
        raise ScriptFailed(f"{subject} {ending.too_much} and was ended", stderr)
    if status is None:
        raise ScriptFailed(f"{subject} was ended together with its launcher, from outside", stderr)
    left = "; not all that it started could be ended" if status.get("left") else ""
    match status.get("ended"):
        case "exit" if status["code"] == 0 and not left:
            return
        case "exit":
            text = f"{subject} ended with {_exit_text(status['code'], limits, stderr)}{left}"
            if cannot_heal(status["code"], stderr):
                raise ScriptBroken(f"{text}; another try would end the same", stderr, ending.stdout)
            raise ScriptFailed(text, stderr, ending.stdout)
        case "limit" if status["limit"] == "timeout_s":
            raise ScriptTimeout(f"{subject} ran longer than its {limits.timeout_s:g} s (timeout_s) and was ended{left}")
        case "limit":
            raise ScriptFailed(f"{subject} {limits.in_words(status['limit'])} and was ended{left}", stderr)
        case "refused":
            why = status["error"] or last_line(stderr) or "bwrap did not say why"
            raise SandboxUnavailable(f"{subject} could not be started: {why}")
        case _:
            raise ScriptFailed(f"{subject} was stopped{left}", stderr)


def cannot_heal(code: int, stderr: str) -> bool:
    """Whether bash or Python says that the script does not parse, or that a program or module is missing.

    Only of the script's own text: what it reads, runs by `eval` or compiles may be better with the next try.
    """
    if code in (126, 127):  # a program that is not there, or is none
        return not _PASSES.search(stderr)
    if code == 2:
        return _BASH_SYNTAX.search(stderr) is not None
    last = last_line(stderr)
    if _PYTHON_SYNTAX.match(last):
        return "Traceback (most recent call last)" not in stderr and '  File "' in stderr
    return _PYTHON_IMPORT.match(last) is not None


def _exit_text(code: int, limits: ScriptLimits, stderr: str) -> str:
    """An exit status in words, with the limit that it looks like and the last line of standard error."""
    text = f"exit status {code}"
    if code > 128:
        try:
            text += f" (as after {signal.Signals(code - 128).name})"
        except ValueError:  # just a number
            pass
    for limit, looks_so in (
        ("cpu_s", code == 128 + signal.SIGXCPU),
        ("file_bytes", code == 128 + signal.SIGXFSZ or re.search("File too large|No space left on device", stderr)),
        ("memory_mb", re.search("MemoryError|Cannot allocate memory", stderr)),
        ("processes", re.search("Resource temporarily unavailable|can't start new thread", stderr)),
    ):
        if looks_so:
            text += f"; it seems that it {limits.in_words(limit)}"
    last = last_line(stderr)
    return f"{text}: {last}" if last else text


def last_line(text: str) -> str:
    """The last line of standard error, where programs say what is wrong; empty if there is none."""
    lines = text.strip().splitlines()
    return one_line(lines[-1], _LAST_LINE_CHARACTERS) if lines else ""


def masked(text: str, secrets: Mapping[str, str]) -> str:
    """The text with the values of the secrets replaced by `***`, the longest first."""
    values = (value for value in secrets.values() if len(value) >= _LEAST_SECRET)
    for secret in sorted(values, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
