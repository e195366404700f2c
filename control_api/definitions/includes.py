"""Includes: what a document takes from elsewhere: content and tables from a `file`, secrets from the environment and from files.

A relative path begins from the YAML file's folder and must not leave it.
"""

import re  # for our own constant patterns; never for a person's
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control_api.definitions.table_file import read_table
from control_api.definitions.text_file import decode
from notifier.definition import MAX_SCRIPT_BYTES
from notifier.errors import FieldError, InputError
from notifier.pointer import pointer
from notifier.record import JsonObject

MAX_SECRET_BYTES = 64 * 1024  # of a file that a secret is read from
_MAX_FILE_BYTES = MAX_SCRIPT_BYTES * 4  # of a script's file; the exact limit counts what is stored
_REFERENCE = re.compile(r"^\$\{([^{}]*)\}$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def with_content(written: Any, folder: Path) -> Any:
    """A script or template with its `file` read into `content`. Raises InputError."""
    if not isinstance(written, dict) or "file" not in written:
        return written
    if "content" in written:
        raise InputError(FieldError("/file", "and `content` are both there; keep one"))
    file = written["file"]
    if not isinstance(file, str) or not file:
        raise InputError(FieldError("/file", "must be the name of a file, as text"))
    content = _read_within(folder, file, _MAX_FILE_BYTES, "/file")
    return {key: value for key, value in written.items() if key != "file"} | {"content": content}


def with_table(written: Any, folder: Path) -> Any:
    """A mapping with the `file` of its table read into `key` and `rows`. Raises InputError."""
    table = written.get("table") if isinstance(written, dict) else None
    if not isinstance(table, dict) or "file" not in table:
        return written
    if "rows" in table:
        raise InputError(FieldError("/table/file", "and `rows` are both there; keep one"))
    file = table["file"]
    if not isinstance(file, str) or not file:
        raise InputError(FieldError("/table/file", "must be the name of a file, as text"))
    text = _read_within(folder, file, _MAX_FILE_BYTES, "/table/file")
    rest = {key: value for key, value in table.items() if key not in ("file", "key")}
    return {**written, "table": rest | read_table(file, text, table.get("key"))}


def with_secrets(value: JsonObject, folder: Path, fields: frozenset[str], environment: Mapping[str, str]) -> JsonObject:
    """A document's value with `${NAME}` and `${file:PATH}` read, where they are the whole value of a secret parameter.

    `fields` are the secret parameters. A secret from outside the folder is named by its absolute path
    (`${file:/run/secrets/token}`). Raises InputError that names the field and what is missing. Line ends at the end are
    left out later, as of every secret (`control_api.definitions.secret_parameters`).
    """
    parameters = value.get("parameters")
    if not isinstance(parameters, dict) or not fields & parameters.keys():
        return value
    wrong: list[FieldError] = []

    def read(part: Any, at: str) -> Any:
        if isinstance(part, list):
            return [read(below, f"{at}/{position}") for position, below in enumerate(part)]
        if isinstance(part, dict):
            return {key: read(below, pointer([key], at)) for key, below in part.items()}
        match = _REFERENCE.fullmatch(part) if isinstance(part, str) else None
        if match is None:
            return part
        try:
            return _referenced(match[1], folder, environment, at)
        except InputError as error:
            wrong.extend(error.errors)
            return part

    resolved = {
        field: read(part, f"/parameters/{field}") if field in fields else part for field, part in parameters.items()
    }
    if wrong:
        raise InputError(wrong)
    return {**value, "parameters": resolved}


def _referenced(name: str, folder: Path, environment: Mapping[str, str], at: str) -> str:
    if name.startswith("file:"):
        path = Path(name.removeprefix("file:"))
        text = (
            _read_text(path, str(path), MAX_SECRET_BYTES, at)
            if path.is_absolute()
            else _read_within(folder, str(path), MAX_SECRET_BYTES, at)
        ).rstrip("\r\n")
        if not text:
            raise InputError(FieldError(at, f"the file {str(path)!r} is empty"))
        return text
    if not _VARIABLE.fullmatch(name):
        raise InputError(FieldError(at, f"{name!r} is neither the name of a variable nor file:PATH"))
    if not environment.get(name):
        raise InputError(FieldError(at, f"the environment variable {name} is not set"))
    return environment[name]


def _read_within(folder: Path, name: str, limit: int, at: str) -> str:
    """The text of a file below the folder; links must not lead out of it."""
    try:
        root = folder.resolve(strict=True)
        path = (root / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links that go round; ValueError: a NUL in the name
        raise InputError(FieldError(at, f"there is no file {name!r} in the folder {folder}")) from None
    if not path.is_relative_to(root):
        raise InputError(FieldError(at, f"{name!r} is outside the folder {folder}; put the file there"))
    return _read_text(path, name, limit, at)


def _read_text(path: Path, name: str, limit: int, at: str) -> str:
    try:
        if not path.is_file():
            raise InputError(FieldError(at, f"{name!r} is not a file"))
        if path.stat().st_size > limit:
            raise InputError(FieldError(at, f"{name!r} is larger than {limit} bytes"))
        return decode(path.read_bytes())
    except OSError as error:
        raise InputError(FieldError(at, f"{name!r} cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise InputError(FieldError(at, f"{name!r} is not UTF-8; save it as UTF-8")) from None
