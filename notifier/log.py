"""Logs: a line of JSON for machines or a line of text for people, without secrets.

    {"time": "2026-11-23T09:00:00.123Z", "level": "INFO", "role": "api", "logger": "control_api.serve", "message": "…", …}

Each value in a call's `extra=` becomes a field. No value can forge a line: line ends and control characters are escaped in
both forms. Values of secret fields are masked here, by the field's name; keeping secrets out of messages is the caller's.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
from pydantic import SecretBytes, SecretStr

from notifier.settings import Settings

MASK = "***"
_SECRET_NAME = re.compile(r"password|passwd|token|secret|authorization|api_?key|cookie", re.IGNORECASE)
# Bearer tokens, our own tokens and passwords in URLs, as they occur in a library's debug line or an exception's text.
_SECRET_TEXT = re.compile(r"(?i)(\bbearer\s+)\S+|\b(ntf_[0-9a-z]+_)[\w-]+|(://[^/\s:@]*:)[^@\s/]+(?=@)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}
# Loggers that are chatty at INFO about what our own lines say better.
_QUIET = ("aiokafka", "faust", "mode", "uvicorn.error", "alembic", "asyncio", "httpx", "httpcore")
# Errors that a Kafka client retries by itself while topics and coordinators come up.
_PASSING = ("GroupCoordinatorNotAvailable", "NotLeaderForPartition", "Marking the coordinator dead", "LoadInProgress")
_YOUNG_MS = 20_000  # age of the process until which these are not logged


class _NotPassing(logging.Filter):
    """Drops aiokafka's passing errors about a broker that is just coming up."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.relativeCreated > _YOUNG_MS or not record.name.startswith("aiokafka"):
            return True
        text = record.getMessage()
        return not any(words in text for words in _PASSING)


def redact(value: Any, name: str = "") -> Any:
    """The value with secrets masked: all of it under a name such as `password` or `api_key`, else parts that look like one."""
    if isinstance(value, SecretStr | SecretBytes) or (name and _SECRET_NAME.search(name) and value not in (None, "")):
        return MASK
    if isinstance(value, str):
        return _SECRET_TEXT.sub(lambda found: "".join(filter(None, found.groups())) + MASK, value)
    if isinstance(value, dict):
        return {str(key): redact(part, str(key)) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(part) for part in value]
    return value


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name.removesuffix("_"): redact(value, name)
        for name, value in record.__dict__.items()
        if name not in _STANDARD and not name.startswith("_")
    }


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Json(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "role": self._role,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in _extras(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        try:
            text = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except (TypeError, ValueError):  # a lone surrogate or a huge integer: such values become text
            text = orjson.dumps({key: _plain(value) for key, value in line.items()}).decode()
        # JSON leaves Unicode line separators and bidirectional controls unescaped.
        return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


class _Text(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(f" {name}={value}" for name, value in _extras(record).items() if name != "action")
        text = _plain(f"{redact(record.getMessage())}{extras}")
        line = f"{_time(record)} {record.levelname:<8} {self._role}: {text}"
        if record.exc_info:
            traceback = redact(self.formatException(record.exc_info))
            # Only the formatter begins a line.
            line += "".join(f"\n    {_plain(part)}" for part in traceback.splitlines())
        return line


def _plain(value: object) -> str:
    text = str(value).encode(errors="backslashreplace").decode()
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class _Seldom(logging.Filter):
    """Passes the same line of a library once a minute: aiokafka logs ten times a second that a broker is away."""

    def __init__(self, every_s: float = 60.0) -> None:
        super().__init__()
        self._every_s = every_s
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_QUIET):
            return True
        key = record.name, str(record.msg)  # the text without its arguments, so the keys are few
        if record.created - self._said.get(key, 0.0) < self._every_s:
            return False
        self._said[key] = record.created
        return True


def configure(settings: Settings, role: str, stream: TextIO | None = None) -> None:
    """Sets up logging for this process, on standard error by default. May be called again, and replaces only its own handler.

    Libraries log at WARNING and above; at every level where the level is DEBUG.
    """
    stream = stream or sys.stderr
    text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    output = logging.StreamHandler(stream)
    output.setFormatter(_Text(role) if text else _Json(role))
    if settings.log_level != "DEBUG":
        output.addFilter(_NotPassing())
        output.addFilter(_Seldom())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if getattr(old, "_notifier", False):
            root.removeHandler(old)
    output._notifier = True  # type: ignore[attr-defined]  # the next call replaces handlers with this mark
    root.addHandler(output)
    root.setLevel(settings.log_level)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(settings.log_level if settings.log_level in ("DEBUG", "ERROR") else "WARNING")
