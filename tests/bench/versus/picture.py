"""Draws what ``make bench`` wrote with ``--json``: ``python -m tests.bench.versus.picture FILE PICTURE.svg``.

Each workload has a bar for every server: operations/s and p99, both as a ratio to etcd's of the same round
(the median over the rounds), on a logarithmic scale.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from xml.sax.saxutils import escape

import msgspec

from tests.bench.versus.report import YARDSTICK, Measurement, ratio

COLOURS = {"kvnode": "#0f766e", "webdis": "#a8a29e"}
LEFT, PLOT, GAP, ROW, BAR, TOP = 250, 330, 60, 34, 12, 76
LEAST, MOST = 1 / 16, 16.0
GRID = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0)
PANELS = (
    ("operations/s, ratio to etcd's (more is better)", "rate"),
    ("p99, ratio to etcd's (less is better)", "p99_us"),
)


def draw(measured: list[Measurement]) -> str:
    """Return the picture as SVG."""
    workloads = list(dict.fromkeys(measurement.workload for measurement in measured))
    servers = [name for name in COLOURS if any(row.server == name for row in measured)]
    height = TOP + ROW * len(workloads) + 16
    width = LEFT + len(PANELS) * (PLOT + GAP)
    font = 'font-family="system-ui, sans-serif" font-size="13" fill="#1c1917"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {font}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(servers),
    ]
    for number, (title, what) in enumerate(PANELS):
        parts += _panel(LEFT + number * (PLOT + GAP), height, title)
        for row, workload in enumerate(workloads):
            for place, server in enumerate(servers):
                y = TOP + row * ROW + 3 + place * (BAR + 1)
                found = ratio(measured, (workload, server), (workload, YARDSTICK), what)
                parts += _bar(LEFT + number * (PLOT + GAP), y, found, server)
    for row, workload in enumerate(workloads):
        parts.append(_text(LEFT - 10, TOP + row * ROW + 18, str(workload), "end"))
    return "\n".join([*parts, "</svg>\n"])


def _x(value: float) -> float:
    """Return how far from a panel's left edge a ratio stands."""
    share = math.log(min(MOST, max(LEAST, value)) / LEAST) / math.log(MOST / LEAST)
    return round(share * PLOT, 1)


def _panel(left: int, height: int, title: str) -> list[str]:
    parts = [_text(left + PLOT / 2, TOP - 28, title, "middle")]
    for value in GRID:
        x = left + _x(value)
        weight = 'stroke="#57534e"' if value == 1 else 'stroke="#e7e5e4"'
        parts.append(f'<line x1="{x}" y1="{TOP - 4}" x2="{x}" y2="{height - 10}" {weight}/>')
        parts.append(
            _text(x, TOP - 10, f"{value:g}" if value >= 1 else f"1/{round(1 / value)}", "middle", 11)
        )
    return parts


def _bar(left: int, y: int, value: float | None, server: str) -> list[str]:
    if value is None:
        return []
    start, end = sorted((_x(1.0), _x(value)))
    shape = f'<rect x="{left + start}" y="{y}" width="{max(1.0, end - start):.1f}" height="{BAR}"'
    beside = left + _x(value) + (4 if value >= 1 else -4)
    return [
        f'{shape} fill="{COLOURS[server]}"/>',
        _text(beside, y + BAR - 2, f"{value:.2f}", "start" if value >= 1 else "end", 11),
    ]


def _legend(servers: list[str]) -> list[str]:
    parts = []
    for number, server in enumerate(servers):
        x = 16 + number * 110
        parts.append(f'<rect x="{x}" y="14" width="12" height="12" fill="{COLOURS[server]}"/>')
        parts.append(_text(x + 18, 25, server, "start"))
    return [*parts, _text(16 + len(servers) * 110, 25, f"1 = {YARDSTICK}, same round, same machine", "start")]


def _text(x: float, y: float, text: str, anchor: str, size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def main() -> None:
    """Read and draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.versus.picture", description=__doc__)
    parser.add_argument("measured", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    measured = msgspec.json.decode(options.measured.read_bytes(), type=list[Measurement])
    options.picture.write_text(draw(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
