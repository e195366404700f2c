"""The program that renders templates, a process of its own beside the delivery worker (`consumers.text.template` starts it).

Jinja's sandbox protects Python's internals but does not limit resources: `'a' * 10 ** 9` is legal in it, and no thread can
interrupt that. In this process the kernel sets the limits: memory by RLIMIT_AS, processor time by ITIMER_PROF, whose signal
kills the process. It holds no secrets.

Requests come on standard input and answers go to standard output, each as four bytes of length (big-endian) and a JSON object:
`{"template": "…", "variables": {…}}`, and `{"text": "…"}` or `{"error": "…"}`. The process ends at the end of its input. It is
run by path and isolated (`python -I`), so it imports the standard library and Jinja only.
"""

import json
import signal
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

COMPILE_S = 1.0  # of processor time
RENDER_S = 0.2  # of processor time
MEMORY_BYTES = 256 * 1024 * 1024  # of address space, the interpreter included
MAX_TEXT_BYTES = 64 * 1024
_KEPT = 100  # templates that stay compiled
# Jinja's globals that lead to Python functions, or make filler text.
_REMOVED = ("lipsum", "cycler", "joiner", "namespace")


def _shown(value: object) -> object:
    return "" if value is None else value  # a field that is not set renders as nothing, not as the word None


def make_environment() -> ImmutableSandboxedEnvironment:
    """The Jinja environment of templates: sandboxed, without a loader, strict about names; None renders as nothing."""
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
        except Exception as error:  # a template may raise any error of the values in it
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
    import resource  # not on every system, where `make_environment` must be importable all the same

    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):
            pass  # macOS refuses RLIMIT_AS; the timer and the worker's deadline remain


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    rendering = _Rendering()
    while header := requests.read(4):
        request = json.loads(requests.read(int.from_bytes(header)))
        answer = json.dumps(rendering.answer(request)).encode()
        answers.write(len(answer).to_bytes(4) + answer)
        answers.flush()


if __name__ == "__main__":
    # Ctrl-C reaches every process of the terminal; the worker drains first, and then kills this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _limit()
    _serve(sys.stdin.buffer, sys.stdout.buffer)
