"""Plan: what `python -m bench router` runs, and how much of it, by its options."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import RESULTS
from bench.trial import CONTENDERS, LOOP, ROUTER, STOCK

SCALE = (1, 10, 100, 1_000, 10_000)  # configurations


@dataclass(frozen=True)
class Plan:
    """What is run, and how much of it."""

    parts: Sequence[str]
    counts: Sequence[int]  # of configurations
    contenders: Sequence[str]
    messages: int  # of a flow that is measured, at most
    flow_s: float  # that it takes, at most, by the speed of the first flow
    latency_s: float
    workers: int


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options as given; ends the process with a message where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench router", description="What routing costs.")
    parser.add_argument("--n", help="numbers of configurations, with commas (default: 1,10,100,1000,10000)")
    parser.add_argument("--messages", type=int, help="messages of a flow that is measured, at most (default: 400000)")
    parser.add_argument("--contenders", help=f"which of {','.join(CONTENDERS)} (default: all)")
    parser.add_argument("--parts", help="which of scale,spread (default: both)")
    parser.add_argument("--quick", action="store_true", help="under 90 s: fewer numbers, shorter flows, no spread")
    parser.add_argument("--workers", type=int, help="that many routers beside one, and nothing else")
    parser.add_argument("--change", action="store_true", help="edits while messages flow, and nothing else")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: one of its own)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the figures (default: %(default)s)")
    options = parser.parse_args(arguments)
    for given, known in ((options.contenders, CONTENDERS), (options.parts, ("scale", "spread"))):
        for name in given.split(",") if given else ():
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    if options.n and not all(number.isdigit() and 1 <= int(number) <= 10_000 for number in options.n.split(",")):
        parser.error("--n takes whole numbers from 1 to 10000, with commas between them")
    if options.messages is not None and options.messages < 100:
        parser.error("--messages takes at least 100")
    if options.workers is not None and options.workers < 2:
        parser.error("--workers takes at least 2")
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for."""
    quick = options.quick
    parts = tuple(options.parts.split(",")) if options.parts else (("scale",) if quick else ("scale", "spread"))
    if options.workers or options.change:
        parts = (*(("workers",) if options.workers else ()), *(("change",) if options.change else ()))
    return Plan(
        parts=parts,
        counts=[int(number) for number in options.n.split(",")] if options.n else (100, 10_000) if quick else SCALE,
        contenders=options.contenders.split(",") if options.contenders else (ROUTER, LOOP, STOCK),
        messages=options.messages or (60_000 if quick else 400_000),
        flow_s=3.0 if quick else 8.0,
        latency_s=3.0 if quick else 10.0,
        workers=options.workers or 2,
    )
