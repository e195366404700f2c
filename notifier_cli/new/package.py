"""Package: the files of a new plugin's package, made of the templates in `files/`.

In those `{name}`, `{module}`, `{Class}` and `{kind}`, in double braces, stand for the plugin's own.
"""

from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path

from notifier.definition.names import NAME_PATTERN
from notifier.errors import FieldError, InputError
from notifier.plugin import PluginKind

KINDS: tuple[PluginKind, ...] = ("producer", "filter", "consumer")
_FILES = Path(__file__).parent / "files"
_OURS = frozenset({"notifier", "notifier_cli", "producers", "filters", "consumers", "streams", "control_api", "tests"})


def check_new(kind: str, name: str) -> None:
    """Raises InputError for a name that no new type of that kind can have."""
    import re  # for our own constant pattern

    module = _module(name)
    if not re.match(NAME_PATTERN, name) or not module.isidentifier():
        raise _refused("must be at most 63 lower-case letters, digits and hyphens, and begin with a letter")
    if iskeyword(module) or iskeyword(_class(name)) or module in _OURS:  # `none` would be a class `None`
        raise _refused(f"{module} is a word of Python or a package of Notifier; take another name")
    from control_api.registry import load_registry  # it takes long, and a wrong name needs none

    if name in load_registry().types(kind):  # type: ignore[arg-type]  # one of KINDS
        raise _refused(f"there is a {kind} type {name!r} already; take another name")


def write_package(kind: str, name: str, folder: Path) -> Iterator[Path]:
    """Writes the package into a folder that is not there yet; gives the files."""
    module = _module(name)
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": f"{kind}.README.md",
        f"{module}/__init__.py": "package",
        f"{module}/{kind}.py": f"{kind}.py",
        f"tests/test_{module}.py": f"test_{kind}.py",
    }
    words = {"name": name, "module": module, "Class": _class(name), "kind": kind}
    for path, template in files.items():
        text = (_FILES / f"{template}.txt").read_text(encoding="utf-8")
        for word, meaning in words.items():
            text = text.replace("{{ " + word + " }}", meaning)
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        yield file


def _module(name: str) -> str:
    return name.replace("-", "_")


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _refused(text: str) -> InputError:
    return InputError(FieldError("NAME", text))
