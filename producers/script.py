"""Script: messages that a script prints. How the script is run, and how little it may do, is `notifier.sandbox`'s.

Script protocol 1: the script gets no input and prints a JSON array, or JSON Lines, of objects with the fields of Message:

    [{"sender": "octocat", "receiver": "alice", "content": "review #42", "id": "42"}]

`content` is the only field that is required, and is text. Nothing printed means no messages. Fields that nobody here
knows are kept. Give an `id` where the thing has one of its own; otherwise its position counts.
"""

import logging
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field

from notifier import Context, JsonObject, Producer, WorldParameters
from notifier.definition import Name
from notifier.errors import ScriptFailed
from notifier.sandbox import ScriptLimits

logger = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 200  # of a line that is not JSON, in the error


def _check_absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{str(path)!r} must be an absolute path without `..`, such as /srv/out")
    return path


class ScriptParameters(WorldParameters):
    """Parameters of a script producer."""

    script: Name = Field(description="Name of the script that is run.", examples=["disk-space"])
    timeout_s: float = Field(30.0, gt=0, le=3600, description="Seconds that the script may take before it is killed.")
    memory_mb: int = Field(
        256, ge=16, le=65_536, description="Mebibytes of memory that each of its processes may take."
    )
    network: bool = Field(False, description="Whether it may use the network; needs the scope `admin`.")
    write: tuple[Annotated[Path, AfterValidator(_check_absolute)], ...] = Field(
        (),
        description="Files and folders that it may write, as absolute paths; needs the scope `admin`.",
        examples=[["/srv/out"]],
    )


class Script(Producer[ScriptParameters]):
    """Runs a script in the sandbox, without input, and takes the JSON objects that it prints for messages."""

    type = "script"
    Parameters = ScriptParameters

    async def produce(self, context: Context) -> list[JsonObject]:
        """What the script printed. Standard error of a script that ends with status 0 is logged.

        Raises UnknownName when there is no such script, SandboxUnavailable, ScriptTimeout, and ScriptFailed for another
        exit status, a limit, or output that is not what the protocol says; then nothing that it printed is used.
        """
        parameters = self.parameters
        output = await context.sandbox.run(
            context.script(parameters.script),
            limits=ScriptLimits(
                timeout_s=parameters.timeout_s,
                cpu_s=max(1, ceil(parameters.timeout_s)),  # it may use its time as it likes
                memory_mb=parameters.memory_mb,
                network=parameters.network,
                write=parameters.write,
            ),
        )
        if output.stderr.strip():
            logger.warning(
                "The script %s of the producer %s wrote on standard error: %s",
                parameters.script,
                context.name,
                output.stderr.strip(),
                extra={"action": "run_script"},
            )
        return read_output(output.stdout, output.stderr)


def read_output(stdout: bytes, stderr: str = "") -> list[JsonObject]:
    """The objects that a script printed. Raises ScriptFailed, which names the item or line and carries standard error."""
    try:
        text = stdout.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScriptFailed(f"the output is not UTF-8 at byte {error.start}", stderr) from None
    if not text.strip():
        return []
    for position, item in enumerate(items := _items(text, stderr), 1):
        if not isinstance(item, dict):
            raise ScriptFailed(f"item {position}: must be an object, such as {_EXAMPLE}", stderr)
    return items


_EXAMPLE = '{"receiver": "alice", "content": "the disk is full"}'


def _items(text: str, stderr: str) -> list[Any]:
    try:
        whole = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        if text.lstrip().startswith("["):
            raise ScriptFailed(f"the output is not a JSON array: {_plain(error)}", stderr) from None
    else:
        return whole if isinstance(whole, list) else [whole]
    items = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON allows other line ends within a text
        if line.strip():
            try:
                items.append(msgspec.json.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                shown = line.strip()[:_SHOWN_CHARACTERS]
                raise ScriptFailed(
                    f"line {number} of the output is not JSON ({_plain(error)}): {shown!r}; print a JSON array, or one"
                    f" object a line, such as {_EXAMPLE}",
                    stderr,
                ) from None
    return items


def _plain(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).removeprefix("JSON is malformed: ")
