"""Script: messages that a script prints. How the script is run, and how little it may do, is `notifier.sandbox`'s.

Script protocol 1: the script gets no input and prints a JSON array, or JSON Lines, of objects with the fields of Message:

    [{"sender": "octocat", "receiver": "alice", "content": "review #42", "id": "42"}]

JSON Lines are messages as they are printed, while the script goes on, and stay so if it fails later. The script is told in its
environment NOTIFIER_PROTOCOL (`1`), NOTIFIER_PRODUCER, and NOTIFIER_DUE: when the run was due (RFC 3339).

`content` is the only field that is required, and is text. No output means no messages. Unknown fields are
kept. Give an `id` where the thing has one of its own; otherwise its position counts.
"""

import asyncio
import logging
from typing import Any

import msgspec

from notifier import Context, JsonObject, Producer
from notifier.errors import NotifierError, ScriptFailed
from notifier.record import rfc3339
from notifier.sandbox import Output, Watch
from notifier.script_parameters import ScriptRunParameters
from producers.script_stream import ScriptStream, plain, shown

logger = logging.getLogger(__name__)

PROTOCOL = "1"


class ScriptParameters(ScriptRunParameters):
    """Parameters of a script producer."""


class Script(Producer[ScriptParameters]):
    """Runs a script in the sandbox, without input, and takes the JSON objects that it prints for messages."""

    type = "script"
    Parameters = ScriptParameters

    async def produce(self, context: Context) -> list[JsonObject]:
        """The objects that the script printed, but those that were handed on as it printed them.

        Standard error of a script that ends with status 0 is logged. Raises UnknownName when there is no such script,
        SandboxUnavailable, ScriptTimeout, and ScriptFailed for another exit status, a limit, or output outside the protocol.
        Then none of its output is used but what was handed on.
        """
        parameters = self.parameters
        stream = None if context.emit is None else ScriptStream(context.emit)
        output = await self._run(context, stream)
        if output.stderr.strip():
            logger.warning(
                "The script %s of the producer %s wrote on standard error: %s",
                parameters.script,
                context.name,
                output.stderr.strip(),
                extra={"action": "run_script"},
            )
        return [] if stream is not None and stream.streams else read_output(output.stdout, output.stderr)

    async def _run(self, context: Context, stream: ScriptStream | None) -> Output:
        """Runs the script. What it prints is handed on meanwhile."""
        script, limits = context.script(self.parameters.script), self.parameters.limits()
        told = _told(context)
        if stream is None:
            watch = Watch(environment=told, measured=context.measured)
            return await context.sandbox.run(script, limits=limits, watch=watch)
        watch = Watch(environment=told, measured=context.measured, printed=stream.take)
        writing = asyncio.create_task(stream.write(), name=f"output of {script.name}")
        try:
            output = await context.sandbox.run(script, limits=limits, watch=watch)
            stream.end(whole=True)
            await writing
            return output
        except NotifierError:
            stream.end(whole=False)
            await writing
            raise
        finally:
            writing.cancel()
            await asyncio.wait([writing])


def _told(context: Context) -> dict[str, str]:
    """The variables that a script gets besides those of every script."""
    told = {"NOTIFIER_PROTOCOL": PROTOCOL, "NOTIFIER_PRODUCER": context.name}
    return told if context.due is None else {**told, "NOTIFIER_DUE": rfc3339(context.due)}


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
            raise ScriptFailed(f"the output is not a JSON array: {plain(error)}", stderr) from None
    else:
        return whole if isinstance(whole, list) else [whole]
    items = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON allows other line ends within a text
        if line.strip():
            try:
                items.append(msgspec.json.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                raise ScriptFailed(
                    f"line {number} of the output is not JSON ({plain(error)}): {shown(line.encode())}; print a JSON array, or"
                    f" one object a line, such as {_EXAMPLE}",
                    stderr,
                ) from None
    return items
