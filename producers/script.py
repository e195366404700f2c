"""Script: messages that a script prints. How the script is run, and how little it may do, is `notifier.sandbox`'s.

Script protocol 1: the script gets no input and prints a JSON array, or JSON Lines, of objects with the fields of Message:

    [{"sender": "octocat", "receiver": "alice", "content": "review #42", "id": "42"}]

`content` is the only field that is required, and is text. No output means no messages. Unknown fields are
kept. Give an `id` where the thing has one of its own; otherwise its position counts.
"""

import logging
from typing import Any

import msgspec

from notifier import Context, JsonObject, Producer
from notifier.errors import ScriptFailed
from notifier.script_parameters import ScriptRunParameters

logger = logging.getLogger(__name__)

_SHOWN_CHARACTERS = 200  # of a line that is not JSON, in the error


class ScriptParameters(ScriptRunParameters):
    """Parameters of a script producer."""


class Script(Producer[ScriptParameters]):
    """Runs a script in the sandbox, without input, and takes the JSON objects that it prints for messages."""

    type = "script"
    Parameters = ScriptParameters

    async def produce(self, context: Context) -> list[JsonObject]:
        """The objects that the script printed. Standard error of a script that ends with status 0 is logged.

        Raises UnknownName when there is no such script, SandboxUnavailable, ScriptTimeout, and ScriptFailed for another
        exit status, a limit, or output outside the protocol; then none of its output is used.
        """
        parameters = self.parameters
        output = await context.sandbox.run(
            context.script(parameters.script),
            limits=parameters.limits(),
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
