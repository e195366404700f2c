"""Plan: what `python -m bench router` runs, and how much of it, by its options."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import RESULTS
from bench.trial import CONTENDERS, LOOP, ROUTER, STOCK
from bench.worlds import BROAD, SMALL, WORLDS

SCALE = (1, 100, 10_000)  # configurations
PARTS = ("scale", "spread")
ALONE = ("workers", "change", "fan_out", "memory")  # parts that are run alone, by an option of that name


@dataclass(frozen=True)
class Plan:
    """What is run, and how much of it."""

    parts: Sequence[str]
    worlds: Sequence[str]
    counts: Sequence[int]  # of configurations
    contenders: Sequence[str]
    messages: int  # of a flow that is measured, at most
    cold: int  # of the flow before it, which is the first after the start
    flow_s: float  # that it takes, at most, by the speed of the first flow
    latency_s: float
    workers: int
    fan_out: int  # messages of a backlog that match many configurations
    backlog: int  # of the long one
    minutes: float  # that the long one takes at least; 0: the short one
    memory: int  # messages


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options as given; ends the process with a message where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench router", description="What routing costs.")
    parser.add_argument("--worlds", help=f"which of {','.join(WORLDS)} (default: all)")
    parser.add_argument("--n", help="numbers of configurations, with commas (default: 1,100,10000)")
    parser.add_argument("--messages", type=int, help="messages of a flow that is measured, at most (default: 400000)")
    parser.add_argument("--contenders", help=f"which of {','.join(CONTENDERS)} (default: all)")
    parser.add_argument("--parts", help=f"which of {','.join(PARTS)} (default: both)")
    parser.add_argument("--quick", action="store_true", help="about 3 minutes: fewer numbers, shorter flows, no spread")
    parser.add_argument("--workers", type=int, help="that many routers beside one, and nothing else")
    parser.add_argument("--change", action="store_true", help="edits while messages flow, and nothing else")
    parser.add_argument("--fan-out", action="store_true", help="messages that go to many, and nothing else")
    parser.add_argument(
        "--minutes", type=float, help="with --fan-out: a backlog of 20,000 messages and that long a flow"
    )
    parser.add_argument(
        "--memory", action="store_true", help="the router's memory after many messages, and nothing else"
    )
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: one of its own)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the figures (default: %(default)s)")
    options = parser.parse_args(arguments)
    named = ((options.contenders, CONTENDERS), (options.parts, PARTS), (options.worlds, WORLDS))
    for given, known in named:
        for name in given.split(",") if given else ():
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    if options.n and not all(number.isdigit() and 1 <= int(number) <= 10_000 for number in options.n.split(",")):
        parser.error("--n takes whole numbers from 1 to 10000, with commas between them")
    if options.messages is not None and options.messages < 100:
        parser.error("--messages takes at least 100")
    if options.workers is not None and options.workers < 2:
        parser.error("--workers takes at least 2")
    if options.minutes is not None and not (options.fan_out and options.minutes > 0):
        parser.error("--minutes takes a number above 0, and goes with --fan-out")
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for."""
    quick = options.quick
    parts = tuple(options.parts.split(",")) if options.parts else (("scale",) if quick else PARTS)
    parts = tuple(part for part in ALONE if getattr(options, part)) or parts
    worlds: Sequence[str] = WORLDS
    if options.worlds:
        worlds = options.worlds.split(",")
    elif "change" in parts:
        worlds = (SMALL, BROAD)
    return Plan(
        parts=parts,
        worlds=worlds,
        counts=[int(number) for number in options.n.split(",")] if options.n else (100, 10_000) if quick else SCALE,
        contenders=options.contenders.split(",")
        if options.contenders
        else (ROUTER, LOOP, *(() if quick else (STOCK,))),
        messages=options.messages or (60_000 if quick else 400_000),
        cold=min(options.messages or 100_000, 30_000 if quick else 100_000),
        flow_s=3.0 if quick else 8.0,
        latency_s=3.0 if quick else 10.0,
        workers=options.workers or 2,
        fan_out=options.messages or (200 if quick else 2_000),
        backlog=options.messages or 20_000,
        minutes=options.minutes or 0.0,
        memory=options.messages or 5_000_000,
    )
