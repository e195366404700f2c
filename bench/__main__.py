"""`python -m bench [NAME…]`: runs the benchmarks named, or all of them."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from bench import latency, scaling

BENCHMARKS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "latency": latency.main,
    "scaling": scaling.main,
}


def main() -> None:
    """Runs what was asked for, one after another."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"there is no benchmark {', '.join(unknown)} (known: {', '.join(BENCHMARKS)})")
    for name in names:
        asyncio.run(BENCHMARKS[name]())


if __name__ == "__main__":
    main()
