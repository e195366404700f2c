"""Documents: definitions as people write them in YAML files, read strictly, and written again by `export`.

    users, groups, scripts, templates, producers, mappings, filters, consumers, configurations: lists of objects with a
        `username` or `name`
    x-…: anything, passed over; a place for anchors
    tests: what must become of a message; only kept apart here (see `control_api.file_tests`), and never stored

The YAML is `control_api.definitions.yaml_core`'s; a key given twice is an error and tags are refused. `<<` merges objects into
the one that it stands in, whose own fields win (`control_api.definitions.merge_keys`). Every error names the
file and the line. A script or template may say `file: disk_space.sh` in place of `content`, a table `file: owners.csv`
(`control_api.definitions.includes`). Whether the fields fit is checked in `control_api.definitions.spec`.
"""

import re  # for our own constant patterns; never for a person's
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from control_api.definitions import yaml_core
from control_api.definitions.includes import with_content, with_table
from control_api.definitions.json_value import MAX_DEPTH
from control_api.definitions.merge_keys import is_merge_key, merged_objects
from control_api.definitions.place import is_pointer, located
from control_api.definitions.spec import name_field, split_name
from control_api.definitions.text_file import decode
from control_api.definitions.yaml_core import SCALARS, TAG
from notifier.definition import read_spec
from notifier.errors import FieldError, InputError
from notifier.folded import folded
from notifier.one_line import one_line
from notifier.outcome import KINDS, Kind
from notifier.pointer import pointer
from notifier.record import JsonObject

SUFFIXES = (".yaml", ".yml")
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_VALUES = 1_000_000  # in one file, each alias counted as often as it stands for something
MAX_FAULTS = 20  # told at once
_LEADING_ZERO = re.compile("[-+]?0[0-9]")  # an older YAML reads an octal number
EXTENSION = "x-"
SECTIONS: Mapping[str, Kind] = {f"{kind}s": kind for kind in KINDS}
TESTS = "tests"
WITH_FILE: tuple[Kind, ...] = ("script", "template")  # whose `content` may be a file


@dataclass(frozen=True, kw_only=True)
class Document:
    """One definition as it is written. `folder` is what relative paths in it begin from; None: it may read no files."""

    kind: Kind
    name: str
    value: JsonObject  # without the name
    place: str  # see `control_api.definitions.place`
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenTest:
    """One entry of `tests` as it is written, not checked. `place` is its file and line."""

    value: Any
    place: str


def load(path: Path) -> list[Document]:
    """The definitions of a YAML file, or of all YAML files below a folder, in order of the files' names.

    Hidden files and folders are left out. Raises InputError that names every place.
    """
    return load_with_tests(path)[0]


def load_with_tests(path: Path) -> tuple[list[Document], list[WrittenTest]]:
    """The definitions, as `load` gives them, and the tests that stand beside them. Raises as `load` does."""
    documents: list[Document] = []
    tests: list[WrittenTest] = []
    wrong: list[FieldError] = []
    for file in _files(path):
        shown = str(file.relative_to(path)) if file != path else file.name
        try:
            reader = _Reader(file, shown, wrong)
            documents += reader.documents()
            tests += reader.tests
        except InputError as error:
            wrong += error.errors
    wrong += check_names(documents)
    if wrong:
        # Plugins' parameters and what is named elsewhere are checked once all files can be read; the fields here and now.
        raise InputError(first_of([*wrong, *_faults(documents)]))
    return documents, tests


def read_object(text: str) -> JsonObject:
    """The object that a YAML text is, for instance one definition alone. Raises InputError that names every line."""
    wrong: list[FieldError] = []
    reader = _Reader(Path(), "line", wrong)
    roots = list(reader.nodes(text))
    if len(roots) != 1 or not isinstance(roots[0], yaml.MappingNode):
        raise InputError(FieldError("", "must be one object, with a field on each line"))
    value, faults = reader.value(roots[0])
    if faults or wrong:
        raise InputError([*wrong, *faults])
    assert isinstance(value, dict)
    return value


def check_names(documents: Iterable[Document]) -> Iterator[FieldError]:
    """The names that are given twice, in whatever form."""
    seen: dict[tuple[Kind, str], Document] = {}
    for document in documents:
        first = seen.setdefault((document.kind, folded(document.name)), document)
        if first is not document:
            text = f"is there already, at {first.place}"
            if first.name != document.name:
                text = f"would differ from {first.name!r} in upper and lower case or Unicode form only, which names must not"
            yield FieldError(document.place, f"the {document.kind} {document.name!r} {text}")


def unknown_section(section: str) -> str:
    """What is wrong with a section that is no kind of definition."""
    near = get_close_matches(section[:100], SECTIONS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(SECTIONS)}"
    return f"{section[:100]!r} is not a kind of definition; {hint}"


def _faults(documents: Sequence[Document]) -> Iterator[FieldError]:
    for document in documents:
        try:
            read_spec(document.kind, document.value)
        except InputError as error:
            yield from named(document, error)


def named(document: Document, error: InputError) -> Iterator[FieldError]:
    """The faults of a document, by its place and name."""
    return (
        FieldError(located(document.place, document.kind, document.name, fault.pointer), fault.detail)
        for fault in error.errors
    )


def first_of(wrong: Sequence[FieldError]) -> Sequence[FieldError]:
    """The first `MAX_FAULTS` faults, and the number of the others."""
    if len(wrong) <= MAX_FAULTS:
        return wrong
    at = "" if is_pointer(wrong[0].pointer) else "…"
    return [*wrong[:MAX_FAULTS], FieldError(at, f"and {len(wrong) - MAX_FAULTS} more")]


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
        self.tests: list[WrittenTest] = []  # once the documents are read
        self._values = 0
        self._faults: list[FieldError] = []  # in the definition being read
        self._above: set[int] = set()  # the nodes that hold the one being read
        self._merging: set[int] = set()  # the nodes whose `<<` is being followed

    def documents(self) -> Iterator[Document]:
        for root in self._compose():
            if self._is_null(root):
                continue  # an empty document
            if not isinstance(root, yaml.MappingNode):
                raise self._error(root, f"must be an object with {', '.join(SECTIONS)}")
            for section, node in self._pairs(root):
                if section.startswith(EXTENSION):
                    continue
                kind = SECTIONS.get(section)
                if section == TESTS:
                    self._take_tests(node)
                elif kind is None:
                    self._wrong.append(self._fault(node, unknown_section(section)))
                elif isinstance(node, yaml.SequenceNode):
                    yield from self._section(kind, node)
                elif not self._is_null(node):
                    self._wrong.append(self._fault(node, f"{section} must be a list"))

    def _compose(self) -> Iterator[yaml.Node]:
        try:
            if self._file.stat().st_size > MAX_FILE_BYTES:
                raise InputError(FieldError(self._shown, f"is larger than {MAX_FILE_BYTES} bytes; split it"))
            text = decode(self._file.read_bytes())
        except OSError as error:
            raise InputError(FieldError(self._shown, f"cannot be read: {error.strerror}")) from None
        except UnicodeDecodeError as error:
            raise InputError(FieldError(self._shown, f"is not UTF-8 at byte {error.start}; save it as UTF-8")) from None
        yield from self.nodes(text)

    def nodes(self, text: str) -> Iterator[yaml.Node]:
        """The YAML documents of a text. Raises InputError."""
        try:
            yield from yaml_core.compose(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark is not None else ""
            raise InputError(FieldError(f"{self._shown}{line}", f"is not YAML: {error.problem}")) from None
        except yaml.YAMLError as error:
            raise InputError(FieldError(self._shown, f"is not YAML: {one_line(error)}")) from None

    def _take_tests(self, section: yaml.Node) -> None:
        if not isinstance(section, yaml.SequenceNode) and not self._is_null(section):
            self._wrong.append(self._fault(section, f"{TESTS} must be a list"))
        for node in section.value if isinstance(section, yaml.SequenceNode) else ():
            place = f"{self._shown}:{node.start_mark.line + 1}"
            try:
                self.tests.append(WrittenTest(value=self._read(node), place=place))
            except InputError as error:
                self._wrong += error.errors
            self._wrong += [FieldError(f"{place} test {fault.pointer}", fault.detail) for fault in self._faults]
            self._faults = []

    def _section(self, kind: Kind, section: yaml.SequenceNode) -> Iterator[Document]:
        for node in section.value:
            place = f"{self._shown}:{node.start_mark.line + 1}"
            try:
                written = self._read(node)
                if self._faults:
                    faults, self._faults = self._faults, []
                    raise InputError(faults)
                if kind in WITH_FILE:
                    written = with_content(written, self._file.parent)
                elif kind == "mapping":
                    written = with_table(written, self._file.parent)
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

    def value(self, node: yaml.Node) -> tuple[Any, list[FieldError]]:
        """The value of a node, and what is wrong within it."""
        value = self._read(node)
        faults, self._faults = self._faults, []
        return value, faults

    def _count(self, node: yaml.Node) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(node, f"there are more than {MAX_VALUES} values in this file; split it")

    def _read(self, node: yaml.Node, at: str = "") -> Any:
        """The value of a node; `at` is its place in the definition."""
        self._count(node)
        if isinstance(node, yaml.ScalarNode):
            if node.tag == TAG + "int" and _LEADING_ZERO.match(node.value):
                text = f"{node.value[:40]!r} would lose its zeros as a number; put it in quotes, or leave them out"
                self._faults.append(FieldError(at, text))
            return self._scalar(node)
        if id(node) in self._above:
            raise self._error(node, "an alias must not hold itself")
        if len(self._above) > MAX_DEPTH:
            raise self._error(node, "is nested too deeply")
        self._above.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "seq")
                return [self._read(part, f"{at}/{position}") for position, part in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            self._check_tag(node, "map")
            return {key: self._read(value, pointer([key], at)) for key, value in self._pairs(node)}
        finally:
            self._above.remove(id(node))

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        """The fields of an object, its own ones first, then those that it merges."""
        own: dict[str, int] = {}
        merged: list[yaml.MappingNode] = []
        for key_node, value in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise self._error(key_node, "a field's name must be text; put it in quotes")
            line = key_node.start_mark.line + 1
            if key in own:
                raise self._error(key_node, f"the field {key!r} is there already, in line {own[key]}")
            own[key] = line
            if is_merge_key(key_node):
                merged += self._merged(value)
            else:
                yield key, value
        if merged:
            yield from self._merged_pairs(node, merged, own)

    def _merged(self, value: yaml.Node) -> list[yaml.MappingNode]:
        found = merged_objects(value)
        if found is None:
            raise self._error(value, "`<<` merges an object or a list of objects, such as <<: *common")
        return found

    def _merged_pairs(
        self, node: yaml.MappingNode, merged: Sequence[yaml.MappingNode], own: Mapping[str, int]
    ) -> Iterator[tuple[str, yaml.Node]]:
        """Those that the object does not have itself; where two merged ones have a field, the first one's counts."""
        if id(node) in self._merging:
            raise self._error(node, "an alias must not hold itself")
        if len(self._merging) > MAX_DEPTH:
            raise self._error(node, "merges what merges too many others")
        self._merging.add(id(node))
        seen = set(own)
        try:
            for part in merged:
                self._count(part)  # an empty one too: aliases of aliases grow without an end
                self._check_tag(part, "map")
                for key, value in self._pairs(part):
                    self._count(value)
                    if key not in seen:
                        seen.add(key)
                        yield key, value
        finally:
            self._merging.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        tag = node.tag.removeprefix(TAG)
        read = SCALARS.get(tag)
        if read is None:
            raise self._error(node, f"the tag {node.tag!r} is not read here")
        try:
            return read(node.value)
        except (ValueError, KeyError):
            raise self._error(node, f"{node.value[:40]!r} is not {tag}") from None

    def _check_tag(self, node: yaml.Node, tag: str) -> None:
        if node.tag != TAG + tag:
            raise self._error(node, f"the tag {node.tag!r} is not read here")

    def _is_null(self, node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.tag == TAG + "null"

    def _fault(self, node: yaml.Node, text: str) -> FieldError:
        return FieldError(f"{self._shown}:{node.start_mark.line + 1}", text)

    def _error(self, node: yaml.Node, text: str) -> InputError:
        return InputError(self._fault(node, text))


def dump(definitions: Mapping[Kind, Sequence[tuple[str, JsonObject]]]) -> str:
    """Definitions as YAML that `load` reads to the same: kinds in their order, names first, lines of text as they are."""
    sections = {
        f"{kind}s": [{name_field(kind): name, **value} for name, value in definitions[kind]]
        for kind in KINDS
        if definitions.get(kind)
    }
    if not sections:
        return "# no definitions\n"
    return yaml_core.dump(sections)
