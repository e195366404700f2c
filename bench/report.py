"""What the benchmark of the router found: a file of figures by part, and tables for people."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.trial import CONTENDERS, LOOP, ROUTER

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


def beside_loop(row: Row, rows: Sequence[Row]) -> Row:
    """The row with its ratios to the hand-written loop of the same run, where it was one of the contenders."""
    loop = next((other for other in rows if other["contender"] == LOOP), None)
    if loop is None:
        return row
    figures = ("rate", "cpu_s", "cold_cpu_s")
    return row | {f"{figure}_beside_loop": _quotient(row[figure], loop[figure]) for figure in figures}


def tables(results: Results) -> Iterator[str]:
    """The figures, line by line."""
    for part in ("scale", "spread"):
        for world, count in dict.fromkeys((row["world"], row["configurations"]) for row in results.get(part, ())):
            rows = [row for row in results[part] if (row["world"], row["configurations"]) == (world, count)]
            yield from _table(rows)
    yield from _growth(results.get("scale", ()))
    for row in results.get("latency", ()):
        yield (
            f"latency, {CONTENDERS[row['contender']]}, {row['world']}, N={row['configurations']:,},"
            f" {row['messages_per_s']:.0f}/s: p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms"
        )
    for row in results.get("scale", ()):
        if row["contender"] == ROUTER and row["configurations"] == MEMORY_AT:
            yield (
                f"memory of the router, {row['world']}, {row['configurations']:,} configurations, {row['users']:,} users,"
                f" after traffic: {row['rss_end_mib']:.0f} MiB"
                f" (PSS {row['pss_end_mib'] or 0:.0f})"
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
            f"{row['world']}, N={row['configurations']:,}, one edited, {row['messages_per_s']:,.0f} messages/s: longest pause"
            f" {max(row['after_ms']):.0f} ms after an edit (each: {', '.join(f'{ms:.0f}' for ms in row['after_ms'])}),"
            f" {max(row['before_ms']):.0f} ms without ({', '.join(f'{ms:.0f}' for ms in row['before_ms'])})"
        )
    yield from _fan_out(results)


def _fan_out(results: Results) -> Iterator[str]:
    for row in results.get("fan_out", ()):
        rate = _number(row["deliveries_per_s"], 0)
        yield (
            f"fan-out, {row['case']}: {row['deliveries'] / row['messages']:,.0f} deliveries a message,"
            f" {_number(row['cpu_us'], 2)} µs of CPU a delivery, {rate} deliveries/s, RSS {row['rss_max_mib']:.0f} MiB"
        )
        yield (
            f"  ordinary messages of another partition meanwhile ({row['beside_s']:.1f} s): longest gap"
            f" {row['gap_ms']:.0f} ms (before: {row['gap_before_ms']:.0f} ms), p50 {row['beside_p50_ms']:.1f} ms,"
            f" p99 {row['beside_p99_ms']:.1f} ms, slowest {row['beside_max_ms']:.0f} ms"
        )
    for row in results.get("fan_out_long", ()):
        yield (
            f"fan-out, long: {row['messages']:,} messages, {row['deliveries']:,} deliveries, none twice; the backlog in"
            f" {_number(row['backlog_s'], 0)} s, {row['cpu_us']:.2f} µs of CPU a delivery, longest without any"
            f" {row['still_s']:.0f} s; the same process in generation {row['generation']}"
        )
        yield f"  RSS in MiB: {_samples(row['samples'], 'seconds', ' s')}"
    for row in results.get("memory", ()):
        yield (
            f"memory of the router, {row['world']}, {row['configurations']:,} configurations, {row['users']:,} users,"
            f" {row['producers']} producers, RSS in MiB after messages: {_samples(row['samples'], 'messages', '')}"
        )


def _samples(samples: Sequence[Row], unit: str, sign: str) -> str:
    """Ten samples, the first and the last among them."""
    places = sorted({round(place * (len(samples) - 1) / 9) for place in range(10)})
    return ", ".join(f"{samples[place]['rss_mib']:.0f} ({samples[place][unit]:,.0f}{sign})" for place in places)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """All contenders with one rule."""
    first = rows[0]
    yield ""
    yield (
        f"{first['world']}, N={first['configurations']:,}, {first['users']:,} users, {first['producers']} producers,"
        f" {first['consumers']:,} consumers: {first['deliveries_a_message']:.2f} deliveries a message,"
        f" {first['nobody']:.0%} of the messages for nobody"
    )
    heads = f"{'messages/s':>12}{'CPU µs':>9}{'at first':>10}{'RSS MiB':>9}{'PSS':>6}"
    yield f"  {'':28}{heads}   beside the loop: speed, CPU, CPU at first"
    for row in rows:
        line = f"  {CONTENDERS[row['contender']]:28}{_number(row['rate'], 0):>12}{_number(row['cpu_s'], 1):>9}"
        line += f"{_number(row['cold_cpu_s'], 1):>10}{row['rss_end_mib']:>9.0f}{row['pss_end_mib'] or 0:>6.0f}"
        if row["contender"] != LOOP and "cpu_s_beside_loop" in row:
            ratios = (row[f"{figure}_beside_loop"] for figure in ("rate", "cpu_s", "cold_cpu_s"))
            line += f"   {', '.join('?' if ratio is None else f'{ratio:.2f} ×' for ratio in ratios)}"
        yield line
    yield f"  at first: the first {max(row['cold_messages'] for row in rows):,} messages after the start and the check"


def _growth(rows: Sequence[Row]) -> Iterator[str]:
    """What 10,000 configurations cost beside 100, in each world."""
    cpu = {(row["world"], row["configurations"]): row["cpu_s"] for row in rows if row["contender"] == ROUTER}
    yield ""
    for world in dict.fromkeys(world for world, _ in cpu):
        if (ratio := _quotient(cpu.get((world, 10_000)), cpu.get((world, 100)))) is not None:
            yield f"{world}: a message costs the router at N=10,000 {ratio:.2f} × what it costs at N=100"


def _quotient(value: float | None, other: float | None) -> float | None:
    return round(value / other, 3) if value and other else None


def _number(value: float | None, digits: int) -> str:
    return "too short" if value is None else f"{value:,.{digits}f}"


def _ratio(value: float | None, other: float | None) -> str:
    ratio = _quotient(value, other)
    return "?" if ratio is None else f"{ratio:.2f} ×"
