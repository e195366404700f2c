"""Progress: what the benchmark of the router tells while it runs, and in whose name it fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from bench.worker import Failed
from notifier.errors import NotifierError


def say(text: str) -> None:
    """Tells progress on standard error."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


@contextmanager
def named(label: str) -> Iterator[None]:
    """Puts the label in front of a failure."""
    try:
        yield
    except Failed as error:
        raise Failed(f"{label}: {error}") from None
    except NotifierError as error:
        raise Failed(f"{label}: {error}") from error
