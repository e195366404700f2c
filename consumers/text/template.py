"""Template: the text that a configuration gives its deliveries, as a Jinja template: its check and its rendering.

The names that a template may use:

    message        the message: `message.content`, `.title`, `.url`, `.severity`, `.labels`, `.sender`, … (names in the
                   producer's world), `.occurred_at` as text, and every field that the producer added
    sender         name in the consumer's world, or the plain text that the producer gave
    receiver       name in the consumer's world; not set for a message to everyone
    recipients     usernames of those a message to everyone is for
    configuration  name of the configuration
    language       `en` or `ru`: the recipient's
    timezone       name of the recipient's zone; not set where nobody says

Times of the message are on the recipient's clock. The filters `bold`, `italic`, `code`, `pre` and `link` mark a text, and no text
of a message can be a mark; `time` writes a time for people.

What is absent is nothing: a field that is not set, a null, a label that the message does not have. An unknown name, or a field
that no message has, is an error. Fields and labels go before methods of Python. Templates come from people, so they are
rendered in a process of their own (`consumers.text.template_process`) with 200 ms of processor time, 256 MiB and 64 KiB of text.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from jinja2 import TemplateSyntaxError, nodes

from consumers.text.includes import fault_of, mentioned
from consumers.text.marks import marked_of
from consumers.text.reader import ANYONE, Reader
from consumers.text.template_process import TemplateEnvironment
from notifier import Delivery, JsonObject
from notifier.errors import FieldError, InputError, TemplateEnded, TemplateFailed
from notifier.marked import Marked
from notifier.one_line import one_line
from notifier.plain_text import is_blank

VARIABLES = ("message", "sender", "receiver", "recipients", "configuration", "language", "timezone")
DEADLINE_S = 10.0  # by the clock: on a busy machine the limit of processor time alone may be reached much later
PROCESSES = 2
# Names that Jinja defines inside loops, blocks and macros.
_OWN_NAMES = frozenset({"loop", "self", "caller", "varargs", "kwargs"})
_ALONE = (nodes.Import, nodes.FromImport, nodes.Extends)
_MAX_ERROR = 300  # characters of an error
_PROGRAM = Path(__file__).with_name("template_process.py")
_ENVIRONMENT = TemplateEnvironment()
_FIELDS = (
    "id",
    "sender",
    "receiver",
    "title",
    "url",
    "severity",
    "occurred_at",
    "not_before",
    "expires_at",
    "configuration",
)
_TIMES = ("occurred_at", "not_before", "expires_at")


def check_template(source: str, pointer: str = "/template") -> None:
    """Checks the syntax of a template, and that the names, filters and tests in it exist. Raises InputError at `pointer`.

    Whether the templates that it includes are there is not asked. Parses without compiling: Jinja's compiler evaluates constant
    expressions, however large their result.
    """
    try:
        tree = _ENVIRONMENT.parse(source)
    except TemplateSyntaxError as error:
        raise _refused(pointer, f"line {error.lineno}: {error.message}") from None
    except RecursionError:
        raise _refused(pointer, "it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a number that is longer than Python reads
        raise _refused(pointer, str(error)) from None
    found = next(_faults(tree, source), None)
    if found is not None:
        raise _refused(pointer, found)


def _faults(tree: nodes.Template, source: str) -> Iterator[str]:
    for node in tree.find_all(_ALONE):
        yield f"line {node.lineno}: a template cannot import or extend another; it may include a named one"
    for include in tree.find_all(nodes.Include):
        fault = fault_of(include, mentioned(source))
        if fault is not None:
            yield f"line {include.lineno}: {fault}"
    for filter_ in tree.find_all(nodes.Filter):
        if filter_.name not in _ENVIRONMENT.filters:
            yield f"line {filter_.lineno}: there is no filter {filter_.name!r}"
    for test in tree.find_all(nodes.Test):
        if test.name not in _ENVIRONMENT.tests:
            yield f"line {test.lineno}: there is no test {test.name!r}"
    made = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    made |= {macro.name for macro in tree.find_all(nodes.Macro)}
    known = {*VARIABLES, *_OWN_NAMES, *_ENVIRONMENT.globals, *made}
    for name in tree.find_all(nodes.Name):
        if name.name not in known:
            yield f"line {name.lineno}: there is no {name.name!r} (known: {', '.join(VARIABLES)})"


def _refused(pointer: str, text: str) -> InputError:
    return InputError(FieldError(pointer, f"is not a template: {one_line(text, _MAX_ERROR)}"))


def variables_of(delivery: Delivery, reader: Reader = ANYONE) -> JsonObject:
    """The values of VARIABLES for one delivery. Raises msgspec.DecodeError where the message is not an object."""
    message = msgspec.json.decode(delivery.message, type=dict[str, Any])
    if reader.timezone is not None:
        message.update({name: _local(message[name], reader.timezone) for name in _TIMES if name in message})
    return {
        "message": {**dict.fromkeys(_FIELDS), "labels": {}, **message, "id": delivery.message_id},
        "sender": delivery.sender,
        "receiver": delivery.receiver or delivery.recipient,
        "recipients": list(delivery.recipients or ()),
        "configuration": delivery.configuration,
        "language": reader.language,
        "timezone": reader.timezone,
    }


def _local(value: object, timezone: str) -> object:
    """A time on the clock of a zone; anything else as it is."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return value if moment is None or moment.tzinfo is None else moment.astimezone(ZoneInfo(timezone)).isoformat()
    except (ValueError, OverflowError):
        return value


class Renderer:
    """Renders templates in up to PROCESSES child processes, started on demand; one that was killed is replaced."""

    def __init__(self) -> None:
        self._idle: list[Process] = []
        self._free = asyncio.Semaphore(PROCESSES)

    async def render(
        self,
        template: str,
        delivery: Delivery,
        included: Mapping[str, str] | None = None,
        *,
        reader: Reader = ANYONE,
        may_be_blank: bool = False,
    ) -> Marked:
        """The text, in which there is something to see; `included`: the named templates that it is made of, by name.

        Raises TemplateFailed.
        """
        try:
            variables = variables_of(delivery, reader)
            request = json.dumps({"template": template, "included": included or {}, "variables": variables}).encode()
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise TemplateFailed(f"the message cannot be read: {error}") from None
        async with self._process() as process:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    answer = await _ask(process, request)
            except TimeoutError:
                raise TemplateEnded(f"it took longer than {DEADLINE_S:g} s, and was ended") from None
            except (asyncio.IncompleteReadError, OSError):
                raise TemplateEnded("it took more processor time or memory than a text needs, and was ended") from None
            self._idle.append(process)
        if "error" in answer:
            raise TemplateFailed(one_line(answer["error"], _MAX_ERROR))
        text = marked_of(str(answer["text"]), answer.get("values", ()))
        if not may_be_blank and is_blank(text.text):
            raise TemplateFailed("the text is empty")
        return text

    async def close(self) -> None:
        """Ends the processes. No call of `render` may be running."""
        while self._idle:
            await _end(self._idle.pop())

    def _alive(self) -> Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return None

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Process]:
        """A process for one caller alone. A process that the caller does not put back into `_idle` is ended."""
        async with self._free:
            try:
                process = self._alive() or await _start()
            except OSError as error:
                raise TemplateFailed(f"no process can be started for it: {error.strerror or error}") from None
            try:
                yield process
            finally:
                if process not in self._idle:
                    await _end(process)


async def _start() -> Process:
    # Without our environment, which may hold secrets; isolated (-I), so that no module of the current folder is imported.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_PROGRAM), stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.DEVNULL, env={}
    )


async def _ask(process: Process, request: bytes) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(len(request).to_bytes(4) + request)
    await process.stdin.drain()
    size = int.from_bytes(await process.stdout.readexactly(4))
    answer: dict[str, Any] = json.loads(await process.stdout.readexactly(size))
    return answer


async def _end(process: Process) -> None:
    if process.returncode is None:
        try:
            process.kill()
        except ProcessLookupError:
            pass  # it has ended, and asyncio does not know yet
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
