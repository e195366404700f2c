"""The program that renders templates, a process of its own beside the delivery worker (`consumers.text.template` starts it).

Jinja's sandbox keeps a template from Python's inner life, and is no limit of resources: `'a' * 10 ** 9` is legal in it, and
no thread can interrupt that. So it runs here, where the kernel ends what takes too much: memory by RLIMIT_AS, time by a
timer of processor time whose signal kills, whatever the interpreter is busy with. Nothing secret is in this process.

It reads requests from standard input and writes answers on standard output, each four bytes of length (big-endian) and a JSON
object: `{"template": "…", "variables": {…}}` and `{"text": "…"}` or `{"error": "…"}`. It ends with its input.
Run by path, in isolation (`python -I`), so it imports the standard library and Jinja only.
"""

import json
import signal
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

COMPILE_S = 1.0  # of processor time
RENDER_S = 0.2
MEMORY_BYTES = 256 * 1024 * 1024  # of addresses, the interpreter's own included
MAX_TEXT_BYTES = 64 * 1024
_KEPT = 100  # templates that stay compiled
_REMOVED = (
    "lipsum",
    "cycler",
    "joiner",
    "namespace",
)  # globals that lead to Python functions, or make text for nothing


def _shown(value: object) -> object:
    return "" if value is None else value  # a field that is not set is no text, and not the word None


def make_environment() -> ImmutableSandboxedEnvironment:
    """The Jinja environment of templates: sandboxed, without a loader, strict about names; what is not set is empty."""
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, finalize=_shown)
    for name in _REMOVED:
        environment.globals.pop(name)
    return environment


class _Rendering:
    def __init__(self) -> None:
        self._environment = make_environment()
        self._templates: OrderedDict[str, Template] = OrderedDict()

    def answer(self, request: dict[str, Any]) -> dict[str, str]:
        try:
            return {"text": self._render(request["template"], request["variables"])}
        except MemoryError:
            return {"error": "it takes more memory than a text needs"}
        except RecursionError:
            return {"error": "it is nested too deeply"}
        except TemplateError as error:
            return {"error": f"{error.message}" if error.message else type(error).__name__}
        except Exception as error:  # a template may raise whatever the values in it can
            return {"error": f"{type(error).__name__}: {error}"[:500]}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _render(self, source: str, variables: dict[str, Any]) -> str:
        template = self._templates.get(source)
        if template is None:
            signal.setitimer(signal.ITIMER_PROF, COMPILE_S)
            template = self._templates[source] = self._environment.from_string(source)
            if len(self._templates) > _KEPT:
                self._templates.popitem(last=False)
        self._templates.move_to_end(source)
        signal.setitimer(signal.ITIMER_PROF, RENDER_S)
        pieces: list[str] = []
        size = 0
        for piece in template.generate(variables):
            size += len(piece.encode(errors="replace"))
            if size > MAX_TEXT_BYTES:
                raise TemplateError(f"the text is longer than {MAX_TEXT_BYTES // 1024} KiB")
            pieces.append(piece)
        return "".join(pieces)


def _limit() -> None:
    import resource  # not on every system, and this module is imported for `make_environment` too

    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):
            pass  # macOS knows RLIMIT_AS and refuses to set it; the timer and the deadline of the worker stay


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    rendering = _Rendering()
    while header := requests.read(4):
        request = json.loads(requests.read(int.from_bytes(header)))
        answer = json.dumps(rendering.answer(request)).encode()
        answers.write(len(answer).to_bytes(4) + answer)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to a whole terminal; the worker drains, and then ends us
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _limit()
    _serve(sys.stdin.buffer, sys.stdout.buffer)
