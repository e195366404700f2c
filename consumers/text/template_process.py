"""The program that renders templates, a process of its own beside the delivery worker (`consumers.text.template` starts it).

Jinja's sandbox protects Python's internals but does not limit resources: `'a' * 10 ** 9` is legal in it, and no thread can
interrupt that. In this process the kernel sets the limits: memory by RLIMIT_AS, processor time by ITIMER_PROF, whose signal
kills the process. It holds no secrets.

Requests come on standard input and answers go to standard output, each as four bytes of length (big-endian) and a JSON object:
`{"template": "…", "included": {"name": "…"}, "variables": {…}}`, and `{"text": "…", "values": ["…"]}` or `{"error": "…"}`.
`included` has every named template that the text is made of, `values` what its marks refer to. The process ends at the end of its
input. It is run by path and isolated (`python -I`), so it imports the standard library and Jinja only.
"""

import json
import re  # for our own constant patterns
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from datetime import datetime
from functools import wraps
from typing import Any, BinaryIO, Literal
from zoneinfo import ZoneInfo

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    Template,
    TemplateError,
    Undefined,
    nodes,
    pass_context,
    pass_environment,
)
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

Style = Literal["bold", "italic", "code", "pre", "link"]
COMPILE_S = 1.0  # of processor time
RENDER_S = 0.2  # of processor time
MEMORY_BYTES = 256 * 1024 * 1024  # of address space, the interpreter included
MAX_TEXT_BYTES = 64 * 1024
_KEPT = 100  # templates that stay compiled
# Globals of Jinja that lead to Python functions, or make filler text.
_REMOVED = ("lipsum", "cycler", "joiner", "namespace")


# Filters that say something of nothing: its length is 0, and in JSON it is null. All others make nothing of it.
_TELL_OF_NOTHING = ("count", "d", "default", "float", "int", "length", "sum", "tojson", "wordcount")
# Filters that answer nothing where there is nothing to choose from.
_OF_EMPTY = ("first", "last", "max", "min", "random")
_DATA = (str, int, float, list, tuple, dict)  # what messages are made of, and what can be shown
# Marks around a text in a style: noncharacters, which are taken out of all that a message says, so that it can forge none.
# `OPEN[n]`, digits for the place of an address or language in `values`, the text, `CLOSE`. `consumers.text.marks` reads them.
STYLES: tuple[Style, ...] = ("bold", "italic", "code", "pre", "link")
OPEN = "\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4"
CLOSE = "\ufdd5"
DIGITS = "".join(map(chr, range(0xFDE0, 0xFDF0)))
MARKS = "\ufdd0-\ufdef"
_MARK = re.compile(f"[{MARKS}]")
# What a link leads to: `notifier.web_address`, which cannot be imported here.
_ADDRESS = re.compile(
    r"(?:https?://|mailto:)[^\s\0-\x20\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff<>\"]+", re.IGNORECASE
)
_MAX_ADDRESS = 2048
_MAX_VALUES = 1000  # of one text, also where it does not show them
# fmt: off
_MONTHS = ("января", "февраля", "марта", "апреля", "мая", "июня", "июля", "августа", "сентября", "октября", "ноября", "декабря")
# fmt: on
_CALLED = "()"  # in front of an attribute that is called; no name in a template begins so


class Nothing(str):
    """What is absent, or null: an empty text that stays nothing whatever is done with it, and comes first in an order.

    The filters and tests of Jinja take it for undefined: `default` replaces it, and it is not `defined`.
    """

    __slots__ = ()

    @property  # type: ignore[misc]  # `object.__class__` may be assigned, and a property may not
    def __class__(self) -> Any:
        """What `isinstance` asks beside the type itself, which is a text."""
        return Undefined

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __add__

    def _same(self, *arguments: Any, **named: Any) -> "Nothing":
        return self

    __call__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = (
        _same
    )
    __mod__ = __pow__ = __rpow__ = __neg__ = __pos__ = lower = casefold = _same

    def __eq__(self, other: object) -> bool:
        return other is None or other == ""

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __lt__(self, other: object) -> bool:
        return self != other

    def __le__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return False

    def __ge__(self, other: object) -> bool:
        return self == other


NOTHING = Nothing()


class Labels(dict[str, Any]):
    """Labels, which producers make up: one that a message does not have is nothing, and no error."""


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which what is absent is nothing, and a field goes before a method of the same name.

    `labels.items` is the label. Only a call, `labels.items()`, is the method, whatever the labels are. Of Python's own
    objects nothing is shown.
    """

    nothing = NOTHING

    def __init__(self, loader: BaseLoader | None = None) -> None:
        # Without a cache: what a name stands for changes, and `_Rendering` keeps what is compiled.
        super().__init__(undefined=StrictUndefined, autoescape=False, finalize=_shown, loader=loader, cache_size=0)
        for name in _REMOVED:
            self.globals.pop(name)
        self.values: list[str] = []  # of the marks of the text that is being rendered
        self.filters["attr"] = _attribute
        self.filters |= {"bold": _marking("bold"), "italic": _marking("italic"), "code": _marking("code")}
        self.filters |= {"pre": _pre, "link": _link, "time": _time}
        self.filters = {name: _knowing_nothing(name, filter_) for name, filter_ in self.filters.items()}
        self.tests["none"] = _is_nothing
        self.policies["json.dumps_function"] = _dumps

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The value of `obj.attribute`, or of `obj.attribute(…)`, where it begins with `_CALLED`."""
        if type(obj) is Nothing:
            return obj
        name = attribute.removeprefix(_CALLED)
        called = name != attribute
        if isinstance(obj, dict) and not (called and hasattr(obj, name)):
            return self._entry(obj, name)
        value = super().getattr(obj, name)
        return value if called else self._no_method(obj, name, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The value of `obj[argument]`."""
        if type(obj) is Nothing:
            return obj
        if isinstance(obj, dict):
            return self._entry(obj, argument)
        return self._no_method(obj, argument, super().getitem(obj, argument))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """What a function of a template answers."""
        value = super().call(__context, __obj, *args, **kwargs)
        if isinstance(value, KeysView | ValuesView | ItemsView):
            return list(value)
        return NOTHING if value is None else value

    def _entry(self, obj: dict[Any, Any], key: Any) -> Any:
        try:
            return obj[key]
        except (LookupError, TypeError):
            return NOTHING if isinstance(obj, Labels) else self.undefined(obj=obj, name=key)

    def _no_method(self, obj: Any, name: Any, value: Any) -> Any:
        if isinstance(obj, _DATA) and callable(value) and not isinstance(value, Undefined):
            return self.undefined(f"{name} is a method, which only a call can use: {name}()")
        return value

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Getattr):
                call.node.attr = _CALLED + call.node.attr
        return tree


def present(value: Any) -> Any:
    """A value of JSON with nothing in place of each null, and without marks."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return _MARK.sub("", value)
    if isinstance(value, list):
        return [present(item) for item in value]
    if isinstance(value, dict):
        return {_MARK.sub("", key): present(item) for key, item in value.items()}
    return value


def _dumps(value: Any, **options: Any) -> str:
    return json.dumps(_with_null(value), **options)


def _with_null(value: Any) -> Any:
    if type(value) is Nothing:
        return None
    if isinstance(value, list | tuple):
        return [_with_null(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_null(item) for key, item in value.items()}
    return value


def _shown(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, (*_DATA, Undefined)):
        return value
    raise TemplateError(f"a {type(value).__name__} is no text; write what is in it")


def _is_nothing(value: object) -> bool:
    return value is None or type(value) is Nothing


@pass_environment
def _attribute(environment: TemplateEnvironment, obj: Any, name: str) -> Any:
    return environment.getattr(obj, str(name).removeprefix(_CALLED))


def _marked(context: Context, style: Style, text: object, value: str = "") -> str:
    # In a context, since Jinja works out at once what needs none, and would keep the value's place beyond this text.
    text, digits = str(_shown(text)), ""
    if value:
        values: list[str] = context.environment.values  # type: ignore[attr-defined]  # it is ours
        if len(values) == _MAX_VALUES:
            raise TemplateError(f"it has more than {_MAX_VALUES} links and blocks of a language")
        digits = "".join(DIGITS[int(digit, 16)] for digit in f"{len(values):x}")
        values.append(value)
    return f"{OPEN[STYLES.index(style)]}{digits}{text}{CLOSE}" if text else ""


def _marking(style: Style) -> Callable[[Context, object], str]:
    @pass_context
    def mark(context: Context, text: object) -> str:
        return _marked(context, style, text)

    return mark


@pass_context
def _pre(context: Context, text: object, language: object = "") -> str:
    word = str(language)
    return _marked(context, "pre", text, word if re.fullmatch("[A-Za-z0-9+#._-]{1,30}", word) else "")


@pass_context
def _link(context: Context, text: object, url: object) -> str:
    address = str(url).strip()
    is_one = len(address) <= _MAX_ADDRESS and _ADDRESS.fullmatch(address)
    return _marked(context, "link", text, address) if is_one else str(_shown(text))


@pass_context
def _time(context: Context, value: object, form: str = "") -> str:
    """A time on the reader's clock: `29 Nov 2026, 21:00 MSK`, or in a form of `strftime`."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise TemplateError(f"{str(value)[:50]!r} is no time with a zone")
    moment = moment.astimezone(ZoneInfo(str(context.resolve("timezone")) or "UTC"))
    if form:
        return moment.strftime(form)
    month = _MONTHS[moment.month - 1] if context.resolve("language") == "ru" else moment.strftime("%b")
    return f"{moment.day} {month} {moment.year}, {moment:%H:%M %Z}"


def _knowing_nothing(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, which makes nothing of nothing, and a list where Jinja's makes an iterator."""
    place = 1 if hasattr(filter_, "jinja_pass_arg") else 0

    @wraps(filter_)
    def filtered(*arguments: Any, **options: Any) -> Any:
        given = arguments[place] if len(arguments) > place else None
        if type(given) is Nothing and name not in _TELL_OF_NOTHING:
            return given
        value = filter_(*arguments, **options)
        if value is None or (name in _OF_EMPTY and isinstance(value, Undefined)):
            return NOTHING
        return list(value) if isinstance(value, Iterator) else value

    return filtered


class _Included(BaseLoader):
    """The named templates that the one being rendered is made of."""

    def __init__(self) -> None:
        self.templates: dict[str, Template] = {}

    def load(self, environment: Environment, name: str, globals: Any = None) -> Template:  # noqa: A002 - Jinja's word
        """The template of that name. Raises TemplateError."""
        if name not in self.templates:
            raise TemplateError(f"there is no template {name!r}")
        return self.templates[name]


class _Rendering:
    def __init__(self) -> None:
        self._included = _Included()
        self._environment = TemplateEnvironment(self._included)
        self._templates: OrderedDict[str, Template] = OrderedDict()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        values = self._environment.values = []
        try:
            variables = present(request["variables"])
            variables["message"]["labels"] = Labels(variables["message"]["labels"])
            text = self._render(request["template"], request.get("included") or {}, variables)
            return {"text": text, "values": values} if values else {"text": text}
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

    def _compiled(self, source: str) -> Template:
        template = self._templates.get(source)
        if template is None:
            template = self._templates[source] = self._environment.from_string(source)
            if len(self._templates) > _KEPT:
                self._templates.popitem(last=False)
        self._templates.move_to_end(source)
        return template

    def _render(self, source: str, included: dict[str, str], variables: dict[str, Any]) -> str:
        signal.setitimer(signal.ITIMER_PROF, COMPILE_S)  # of all together
        self._included.templates = {name: self._compiled(text) for name, text in included.items()}
        template = self._compiled(source)
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
    import resource  # not on every system, where `TemplateEnvironment` must be importable all the same

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
