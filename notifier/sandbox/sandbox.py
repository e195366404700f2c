"""Sandbox: runs scripts, shut in as well as this machine allows. Which level that is, is `notifier.sandbox.detection`'s.

What a script finds is told in `notifier.sandbox.views`. Who may change a stored script, or give it `write` and `network`, is
the control API's to decide.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from notifier.errors import SandboxUnavailable
from notifier.sandbox.level import Level
from notifier.sandbox.limits import ScriptLimits
from notifier.sandbox.machine import Machine
from notifier.sandbox.start import start
from notifier.sandbox.talk import GRACE_S, Talk
from notifier.sandbox.verdict import Usage, judge
from notifier.script import Script


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a script that succeeded has printed."""

    stdout: bytes
    stderr: str  # the end of it, with every secret replaced by ***
    seconds: float  # how long it ran, start and end included


def _passed_over(what: object) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What a run is told besides its input, and who hears what it does."""

    environment: Mapping[str, str] = field(default_factory=dict)  # more variables of the script; no secrets
    printed: Callable[[bytes], None] = _passed_over  # takes standard output as it comes, in pieces of any length
    measured: Callable[[Usage], None] = _passed_over  # takes what was used, however the run ends


UNWATCHED: Final = Watch()


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Runs scripts. Made by `detect_sandbox`; may be shared and kept."""

    level: Level
    explanation: str  # one line: the level, why it is no better, and what would make it better
    machine: Machine | None = field(default=None, repr=False)  # None only where scripts are refused

    async def run(
        self,
        script: Script,
        *,
        stdin: bytes = b"",
        limits: ScriptLimits,
        secrets: Mapping[str, str] | None = None,
        watch: Watch = UNWATCHED,
    ) -> Output:
        """Runs a script once and returns what it printed. However that ends, nothing the script started is left.

        `watch` says what else the script is told, and hears what it does. Only the script gets the secrets, on file descriptor
        3 as one JSON object. Cancelling ends the script like a limit does. Raises SandboxUnavailable if it could not be
        started, ScriptTimeout after `limits.timeout_s`, ScriptFailed for an exit status that is not 0 and for every other
        limit, and of these ScriptBroken where another try would end the same. Nothing is repeated: a script that was killed
        may have done part of its work.
        """
        if self.level is Level.none or self.machine is None:
            raise SandboxUnavailable(self.explanation)
        started = time.monotonic()
        running = start(self.machine, self.level, script, limits, secrets or {}, watch.environment)
        talk = Talk(running, stdin, limits, watch.printed)
        try:
            await asyncio.wait([talk.ended], timeout=limits.timeout_s + GRACE_S)
        finally:
            await talk.close()
        ending = talk.ending(secrets or {})
        status, elapsed_s = ending.status or {}, time.monotonic() - started
        watch.measured(Usage(elapsed_s=elapsed_s, cpu_s=status.get("cpu_s"), memory_mb=status.get("memory_mb")))
        judge(script.name, limits, ending)
        return Output(stdout=ending.stdout, stderr=ending.stderr, seconds=elapsed_s)
