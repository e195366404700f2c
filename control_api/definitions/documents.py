"""Documents: definitions as people write them in YAML files, read strictly, and written again by `export`.

Read is YAML 1.2's core schema and nothing more: `18:00`, `on` and `2026-11-23` are text here (older YAML makes 1080, true
and a date of them), a key given twice is an error, tags are refused. Every error names the file and the line.

    users, scripts, producers, filters, consumers, configurations: lists of objects with a `username` or `name`

A script may say `file: disk_space.sh` in place of `content`; the file must lie in the folder of the YAML file. Whether
the fields fit is `control_api.definitions.spec`'s to say.
"""

import re  # for our own constant patterns; never for a person's
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from control_api.definitions.spec import MAX_DEPTH, name_field, split_name
from notifier.definition import MAX_SCRIPT_BYTES
from notifier.errors import FieldError, InputError
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject

SUFFIXES = (".yaml", ".yml")
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_VALUES = 1_000_000  # in one file, each alias counted as often as it stands for something
MAX_FAULTS = 20  # told at once
MAX_SECRET_BYTES = 64 * 1024  # of a file that a secret is read from
_SECTIONS: Mapping[str, Kind] = {f"{kind}s": kind for kind in KINDS}

_TAG = "tag:yaml.org,2002:"
_CORE = (  # tag, pattern, the characters it may begin with
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN"),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
)

_C_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it
_C_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_C_LOADER):  # type: ignore[misc]  # PyYAML chooses the class when it is imported
    """Composes nodes with the tags of the core schema. Nothing is constructed by PyYAML."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's name for its table


class _Dumper(_C_DUMPER):  # type: ignore[misc]  # as above
    """Quotes what either the core schema or an older YAML would not read as text; lines as literal blocks."""


for _name, _pattern, _first in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(_pattern), [*_first, *([""] if _name == "null" else [])])


def _represent_text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar(_TAG + "str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One definition as it is written. `place` is its file and line, `folder` what relative paths in it begin from."""

    kind: Kind
    name: str
    value: JsonObject  # without the name
    place: str
    folder: Path


def load(path: Path) -> list[Document]:
    """The definitions of a YAML file, or of all YAML files below a folder (hidden ones left out), in order of their names.

    Raises InputError that names every place.
    """
    documents: list[Document] = []
    wrong: list[FieldError] = []
    for file in _files(path):
        shown = str(file.relative_to(path)) if file != path else file.name
        try:
            documents += _Reader(file, shown, wrong).documents()
        except InputError as error:
            wrong += error.errors
    seen: dict[tuple[Kind, str], Document] = {}
    for document in documents:
        first = seen.setdefault((document.kind, document.name), document)
        if first is not document:
            wrong.append(
                FieldError(document.place, f"the {document.kind} {document.name!r} is there already, at {first.place}")
            )
    if wrong:
        raise InputError(first_of(wrong))
    return documents


def first_of(wrong: Sequence[FieldError]) -> Sequence[FieldError]:
    """As many faults as a person reads at once, and how many more there are."""
    if len(wrong) <= MAX_FAULTS:
        return wrong
    return [*wrong[:MAX_FAULTS], FieldError("…", f"and {len(wrong) - MAX_FAULTS} more")]


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*")
        if file.suffix in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise InputError(FieldError(str(path), f"has no file that ends in {' or '.join(SUFFIXES)}"))
    return found


class _Reader:
    """Reads one file. Faults of single definitions go to `wrong`, so that all are told at once."""

    def __init__(self, file: Path, shown: str, wrong: list[FieldError]) -> None:
        self._file = file
        self._shown = shown
        self._wrong = wrong
        self._values = 0
        self._above: set[int] = set()  # the nodes that hold the one being read

    def documents(self) -> Iterator[Document]:
        for root in self._compose():
            if self._is_null(root):
                continue  # an empty document
            if not isinstance(root, yaml.MappingNode):
                raise self._error(root, f"must be an object with {', '.join(_SECTIONS)}")
            for section, node in self._pairs(root):
                kind = _SECTIONS.get(section)
                if kind is None:
                    near = get_close_matches(section, _SECTIONS, n=1)
                    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_SECTIONS)}"
                    self._wrong.append(self._fault(node, f"{section!r} is not a kind of definition; {hint}"))
                elif isinstance(node, yaml.SequenceNode):
                    yield from self._section(kind, node)
                elif not self._is_null(node):
                    self._wrong.append(self._fault(node, f"{section} must be a list"))

    def _compose(self) -> Iterator[yaml.Node]:
        try:
            if self._file.stat().st_size > MAX_FILE_BYTES:
                raise InputError(FieldError(self._shown, f"is larger than {MAX_FILE_BYTES} bytes; split it"))
            text = self._file.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise InputError(FieldError(self._shown, f"cannot be read: {error.strerror}")) from None
        except UnicodeDecodeError as error:
            raise InputError(FieldError(self._shown, f"is not UTF-8 at byte {error.start}")) from None
        try:
            yield from yaml.compose_all(text, _Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark is not None else ""
            raise InputError(FieldError(f"{self._shown}{line}", f"is not YAML: {error.problem}")) from None
        except yaml.YAMLError as error:
            raise InputError(FieldError(self._shown, f"is not YAML: {' '.join(str(error).split())}")) from None

    def _section(self, kind: Kind, section: yaml.SequenceNode) -> Iterator[Document]:
        for node in section.value:
            place = f"{self._shown}:{node.start_mark.line + 1}"
            try:
                written = self._read(node)
                if kind == "script":
                    written = self._with_content(written)
                name, value = split_name(kind, written)
            except InputError as error:
                self._wrong += [
                    fault
                    if fault.pointer.startswith(self._shown)
                    else FieldError(f"{place} {kind} {fault.pointer}", fault.detail)
                    for fault in error.errors
                ]
                continue
            yield Document(kind=kind, name=name, value=value, place=place, folder=self._file.parent)

    def _read(self, node: yaml.Node) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(node, f"there are more than {MAX_VALUES} values in this file; split it")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._above:
            raise self._error(node, "an alias must not hold itself")
        if len(self._above) > MAX_DEPTH:
            raise self._error(node, "is nested too deeply")
        self._above.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "seq")
                return [self._read(part) for part in node.value]
            assert isinstance(node, yaml.MappingNode)
            self._check_tag(node, "map")
            return {key: self._read(value) for key, value in self._pairs(node)}
        finally:
            self._above.remove(id(node))

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise self._error(key_node, "a field's name must be text; put it in quotes")
            line = key_node.start_mark.line + 1
            if key in seen:
                raise self._error(key_node, f"the field {key!r} is there already, in line {seen[key]}")
            seen[key] = line
            yield key, value

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        tag = node.tag.removeprefix(_TAG)
        read = _SCALARS.get(tag)
        if read is None:
            raise self._error(node, f"the tag {node.tag!r} is not read here")
        try:
            return read(node.value)
        except (ValueError, KeyError):
            raise self._error(node, f"{node.value[:40]!r} is not {tag}") from None

    def _check_tag(self, node: yaml.Node, tag: str) -> None:
        if node.tag != _TAG + tag:
            raise self._error(node, f"the tag {node.tag!r} is not read here")

    def _is_null(self, node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"

    def _with_content(self, written: Any) -> Any:
        """A script with its `file` read into `content`."""
        if not isinstance(written, dict) or "file" not in written:
            return written
        if "content" in written:
            raise InputError(FieldError("/file", "and `content` are both there; keep one"))
        file = written["file"]
        if not isinstance(file, str) or not file:
            raise InputError(FieldError("/file", "must be the name of a file"))
        content = _read_within(self._file.parent, file, MAX_SCRIPT_BYTES * 4, "/file")
        return {key: value for key, value in written.items() if key != "file"} | {"content": content}

    def _fault(self, node: yaml.Node, text: str) -> FieldError:
        return FieldError(f"{self._shown}:{node.start_mark.line + 1}", text)

    def _error(self, node: yaml.Node, text: str) -> InputError:
        return InputError(self._fault(node, text))


def _integer(text: str) -> int:
    return int(text, 8 if text.startswith("0o") else 16) if text.startswith(("0o", "0x")) else int(text)


_BOOLEANS = {"true": True, "false": False}
_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "null": lambda _: None,
    "bool": lambda text: _BOOLEANS[text.lower()],
    "int": _integer,
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}


def _read_within(folder: Path, name: str, limit: int, pointer: str) -> str:
    """The text of a file below the folder; links must not lead out of it."""
    try:
        root = folder.resolve(strict=True)
        path = (root / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links that go round; ValueError: a NUL in the name
        raise InputError(FieldError(pointer, f"there is no file {name!r} in the folder {folder}")) from None
    if not path.is_relative_to(root):
        raise InputError(FieldError(pointer, f"{name!r} is outside the folder {folder}; put the file there"))
    return _read_text(path, name, limit, pointer)


def _read_text(path: Path, name: str, limit: int, pointer: str) -> str:
    try:
        if not path.is_file():
            raise InputError(FieldError(pointer, f"{name!r} is not a file"))
        if path.stat().st_size > limit:
            raise InputError(FieldError(pointer, f"{name!r} is larger than {limit} bytes"))
        return path.read_bytes().decode()
    except OSError as error:
        raise InputError(FieldError(pointer, f"{name!r} cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise InputError(FieldError(pointer, f"{name!r} is not UTF-8")) from None


_REFERENCE = re.compile(r"^\$\{([^{}]*)\}$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def with_secrets(document: Document, fields: frozenset[str], environment: Mapping[str, str]) -> JsonObject:
    """The document's value with `${NAME}` and `${file:PATH}` read, where they are the whole value of a secret parameter.

    A relative PATH begins from the YAML file's folder and stays in it; a secret from elsewhere is named by its absolute
    path (`${file:/run/secrets/token}`). Ends of line at the end of the file are left out. Raises InputError that names the
    field and what is missing.
    """
    parameters = document.value.get("parameters")
    if not isinstance(parameters, dict) or not fields & parameters.keys():
        return document.value
    wrong: list[FieldError] = []

    def read(value: Any, pointer: str) -> Any:
        if isinstance(value, list):
            return [read(part, f"{pointer}/{position}") for position, part in enumerate(value)]
        if isinstance(value, dict):
            return {key: read(part, f"{pointer}/{key}") for key, part in value.items()}
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return value
        try:
            return _referenced(match[1], document.folder, environment, pointer)
        except InputError as error:
            wrong.extend(error.errors)
            return value

    resolved = {
        field: read(value, f"/parameters/{field}") if field in fields else value for field, value in parameters.items()
    }
    if wrong:
        raise InputError(wrong)
    return {**document.value, "parameters": resolved}


def _referenced(name: str, folder: Path, environment: Mapping[str, str], pointer: str) -> str:
    if name.startswith("file:"):
        path = Path(name.removeprefix("file:"))
        text = (
            _read_text(path, str(path), MAX_SECRET_BYTES, pointer)
            if path.is_absolute()
            else _read_within(folder, str(path), MAX_SECRET_BYTES, pointer)
        ).rstrip("\r\n")
        if not text:
            raise InputError(FieldError(pointer, f"the file {str(path)!r} is empty"))
        return text
    if not _VARIABLE.fullmatch(name):
        raise InputError(FieldError(pointer, f"{name!r} is neither the name of a variable nor file:PATH"))
    if not environment.get(name):
        raise InputError(FieldError(pointer, f"the environment variable {name} is not set"))
    return environment[name]


def dump(definitions: Mapping[Kind, Sequence[tuple[str, JsonObject]]]) -> str:
    """Definitions as YAML that `load` reads to the same: kinds in their order, names first, lines of text as they are."""
    sections = {
        f"{kind}s": [{name_field(kind): name, **value} for name, value in definitions[kind]]
        for kind in KINDS
        if definitions.get(kind)
    }
    if not sections:
        return "# no definitions\n"
    text: str = yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
