"""Secrets: whether a plugin under trial tells or logs any of its parameters' secrets."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from notifier.plugin import Plugin, secrets_in


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """The lines that are logged meanwhile, with the texts of exceptions."""
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter().format(record))

    handler, root = Keeping(level=logging.DEBUG), logging.getLogger()
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)


def tell_no_secret(plugin: Plugin[Any], case: str, texts: Iterable[str]) -> None:
    """Raises AssertionError where a text holds a secret of the plugin's parameters."""
    for secret in secrets_in(plugin.parameters.__dict__.values()):
        for text in texts:
            assert secret not in text, f"{case}: a secret is told: {plugin.mask(text)}"
