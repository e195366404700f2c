"""What the benchmark of the router found: a file of figures by part, and tables for people."""

import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.trial import CONTENDERS, ROUTER

RESULTS = Path(__file__).parent / "results" / "router.json"
MEMORY_AT = 10_000  # configurations

Row = dict[str, Any]
Results = dict[str, list[Row]]  # rows of figures by part


def write(file: Path, results: Results) -> None:
    """Puts the parts that were run into the file and leaves the others in it as they are."""
    known = json.loads(file.read_text()) if file.exists() else {}
    about = {
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known | {part: {**about, "rows": rows} for part, rows in results.items()}, indent=1))


def tables(results: Results) -> Iterator[str]:
    """The figures, line by line."""
    for part in ("scale", "spread"):
        for count in dict.fromkeys(row["configurations"] for row in results.get(part, ())):
            rows = {row["contender"]: row for row in results[part] if row["configurations"] == count}
            consumers = next(iter(rows.values()))["consumers"]
            yield ""
            yield f"N={count:,} configurations, {consumers:,} consumers"
            heads = f"{'messages/s':>12}{'CPU s/million':>15}{'at first':>10}{'RSS MiB':>9}"
            yield f"  {'':28}{heads}   beside the router: speed, CPU"
            ours = rows.get(ROUTER)
            for contender, row in rows.items():
                line = f"  {CONTENDERS[contender]:28}{_number(row['rate'], 0):>12}{_number(row['cpu_s'], 1):>15}"
                line += f"{_number(row['cold_cpu_s'], 1):>10}{_number(row['rss_max_mib'], 0):>9}"
                if ours is not None and contender != ROUTER:
                    line += f"   {_ratio(row['rate'], ours['rate'])}, {_ratio(row['cpu_s'], ours['cpu_s'])}"
                yield line
    for row in results.get("latency", ()):
        yield (
            f"latency, {CONTENDERS[row['contender']]}, N={row['configurations']:,}, {row['messages_per_s']:.0f}/s:"
            f" p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms"
        )
    for row in results.get("scale", ()):
        if row["contender"] == ROUTER and row["configurations"] == MEMORY_AT:
            yield (
                f"memory of the router with {row['configurations']:,} configurations and {row['users']:,} users,"
                f" after traffic: {row['rss_end_mib']:.0f} MiB"
            )
    shared = results.get("workers", [])
    for row in shared:
        yield (
            f"{row['workers']} × router, N={row['configurations']:,}: {_number(row['rate'], 0)} messages/s,"
            f" {_number(row['cpu_s'], 1)} CPU s/million together"
            f" ({_ratio(row['cpu_s'], shared[0]['cpu_s'])} of one)"
        )
    for row in results.get("change", ()):
        yield (
            f"N={row['configurations']:,}, one edited, {row['messages_per_s']:,.0f} messages/s: longest pause"
            f" {max(row['after_ms']):.0f} ms after an edit (each: {', '.join(f'{ms:.0f}' for ms in row['after_ms'])}),"
            f" {max(row['before_ms']):.0f} ms without ({', '.join(f'{ms:.0f}' for ms in row['before_ms'])})"
        )


def _number(value: float | None, digits: int) -> str:
    return "too short" if value is None else f"{value:,.{digits}f}"


def _ratio(value: float | None, other: float | None) -> str:
    return "?" if not value or not other else f"{value / other:.2f} ×"
