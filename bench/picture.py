"""Draws what `python -m bench router` has measured: processor time for a message over the number of configurations.

`python -m bench picture [--world small] [--results FILE] [--out FILE]`. Both axes are logarithmic. The colours are of middle
brightness and the ground is left out, so that it can be read on a light and on a dark page.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.report import RESULTS
from bench.trial import CONTENDERS, LOOP, ROUTER, STOCK
from bench.worlds import SMALL, WORLDS

PICTURE = Path(__file__).parent.parent / "docs" / "router-cost.svg"

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 560, 40, 320  # of the plot; to its right the names of the lines
NAME_DISTANCE = 18  # between the names of two lines, at least
INK = "#808080"
COLOURS = {ROUTER: "#2f81f7", LOOP: "#c9740c", STOCK: "#8a63d2"}

Line = list[tuple[float, float]]  # configurations and microseconds


def main(arguments: Sequence[str]) -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(prog="python -m bench picture", description="Draws what `router` has measured.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the figures (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=PICTURE, help="file of the picture (default: %(default)s)")
    parser.add_argument("--world", choices=WORLDS, default=SMALL, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.results.exists():
        parser.error(f"{options.results} is not there; `python -m bench router` writes it")
    rows = json.loads(options.results.read_text()).get("scale", {}).get("rows", [])
    lines: dict[str, Line] = {}
    for row in rows:
        if (
            row["cpu_s"] and row.get("world", SMALL) == options.world
        ):  # seconds for a million messages are microseconds for one
            lines.setdefault(row["contender"], []).append((row["configurations"], row["cpu_s"]))
    if not lines:
        parser.error(f"{options.results} has no figures of the part `scale` in the world {options.world}")
    options.out.write_text(draw(lines))
    print(options.out)


def draw(lines: dict[str, Line]) -> str:
    """The picture as SVG."""
    points = [point for line in lines.values() for point in line]
    first, last = _decades(x for x, _ in points)
    low, high = _decades(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (RIGHT - LEFT) * (math.log10(x) - first) / (last - first),
            BOTTOM - (BOTTOM - TOP) * (math.log10(y) - low) / (high - low),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13"'
        f' fill="{INK}">',
        "<title>Processor time for a message over the number of configurations</title>",
        f'<text x="{LEFT}" y="20">µs of processor time for a message</text>',
        f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">configurations</text>',
    ]
    for power in range(low, high + 1):
        _, y = place(10**first, 10**power)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="{INK}" stroke-opacity="0.35"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    for power in range(first, last + 1):
        x, _ = place(10**power, 10**low)
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{10**power:,}</text>')
    names: list[tuple[float, str]] = []
    for contender, line in lines.items():
        places = [place(x, y) for x, y in sorted(line)]
        colour = COLOURS[contender]
        course = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        width = 3 if contender == ROUTER else 2
        parts.append(f'<polyline points="{course}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 1}" fill="{colour}"/>' for x, y in places)
        names.append((places[-1][1], contender))
    above = -math.inf
    for y, contender in sorted(names):
        above = max(y, above + NAME_DISTANCE)
        weight = ' font-weight="bold"' if contender == ROUTER else ""
        parts.append(
            f'<text x="{RIGHT + 12}" y="{above + 4:.1f}" fill="{COLOURS[contender]}"{weight}>{CONTENDERS[contender]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Iterator[float]) -> tuple[int, int]:
    """The powers of ten between which the values lie; two different ones."""
    logarithms = [math.log10(value) for value in values]
    low, high = math.floor(min(logarithms)), math.ceil(max(logarithms))
    return low, max(high, low + 1)
