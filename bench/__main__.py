"""`python -m bench [NAME [OPTION…]]`: runs the benchmark named, with its options, or all of them."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bench import (
    dry_run,
    explain,
    history,
    intake,
    judge,
    latency,
    ledger,
    pace,
    parked,
    picture,
    router,
    scaling,
    webhook,
)

BENCHMARKS: dict[str, Callable[[Sequence[str]], Coroutine[Any, Any, None]]] = {
    "dry-run": dry_run.main,
    "explain": explain.main,
    "history": history.main,
    "intake": intake.main,
    "judge": judge.main,
    "latency": latency.main,
    "ledger": ledger.main,
    "pace": pace.main,
    "parked": parked.main,
    "router": router.main,
    "scaling": scaling.main,
    "webhook": webhook.main,
}


def main() -> None:
    """Runs what was asked for, one after another."""
    name, *options = sys.argv[1:] or [""]
    if name == "picture":
        picture.main(options)
        return
    if name and name not in BENCHMARKS:
        sys.exit(
            f"there is no benchmark {name} (known: {', '.join(BENCHMARKS)}; `picture` draws what `router` measured)"
        )
    try:
        for benchmark in [name] if name else BENCHMARKS:
            asyncio.run(BENCHMARKS[benchmark](options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


if __name__ == "__main__":
    main()
