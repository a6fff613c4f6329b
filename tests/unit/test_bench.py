"""What the benchmarks make of what they measure."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from rich.console import Console

from tests.bench.profile.stacks import Stacks
from tests.bench.steady import Window, judge
from tests.bench.versus.picture import draw
from tests.bench.versus.report import Measurement, own_table, ratio
from tests.bench.versus.wrk import Seen, Workload

PUT = Workload("put", 64)


def measured(
    round_: int, server: str, rate: float, workload: Workload = PUT, p99_us: int = 1000
) -> Measurement:
    """Return a measurement in which little else matters."""
    return Measurement(round_, server, workload, Seen(rate, 1, 500, p99_us, 2000, 0, 0.1), 0.001, 0.5)


def test_ratios_are_taken_within_a_round() -> None:
    """A round on a slow machine counts as much as one on a fast machine, and a lone one not at all."""
    rows = [measured(0, "kvnode", 100), measured(0, "etcd", 50), measured(1, "kvnode", 10)]
    rows += [
        measured(1, "etcd", 40),
        measured(2, "kvnode", 30),
        measured(2, "etcd", 30),
        measured(3, "kvnode", 9),
    ]
    assert ratio(rows, (PUT, "kvnode"), (PUT, "etcd"), "rate") == 1.0
    assert ratio(rows, (PUT, "kvnode"), (PUT, "webdis"), "rate") is None


def test_kvnode_is_compared_with_itself() -> None:
    """A stopped worker's row compares with the same workload on the whole cluster."""
    stopped = msgspec.structs.replace(PUT, stopped=1)
    rows = [measured(0, "kvnode", 100), measured(0, "kvnode", 80, stopped), measured(0, "etcd", 7, stopped)]
    table = own_table(rows)
    assert [list(column.cells) for column in table.columns] == [
        ["one worker stopped, to none"],
        ["put, 64 conn, 1 stopped"],
        ["0.80"],
        ["1.00"],
        ["1.00"],
    ]


def test_the_picture_shows_each_ratio() -> None:
    """Every workload has a bar of operations/s and one of p99, beside its figure."""
    rows = [measured(0, "kvnode", 150, p99_us=300), measured(0, "etcd", 100, p99_us=600)]
    texts = [text.text for text in ET.fromstring(draw(rows)).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert {"put, 64 conn", "1.50", "0.50"} <= set(texts)


def test_stacks_add_up(tmp_path: Path) -> None:
    """A function counts where it is on top, and once where it is anywhere within the event loop."""
    path = tmp_path / "folded"
    lines = [
        'thread (0x1): "MainThread";main (x.py:1);Runner.run (y.py:1);f (z.py:1);g (z.py:5);f (z.py:1) 3',
        'thread (0x1): "MainThread";main (x.py:1);Runner.run (y.py:1);g (z.py:5) 1',
        'thread (0x2): "log-writer";h (z.py:9) 2',
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stacks = Stacks.read(path)
    assert stacks.samples == 6
    assert stacks.own == {"f (z.py:1)": 3, "g (z.py:5)": 1, "h (z.py:9)": 2}
    assert stacks.within == {"Runner.run (y.py:1)": 4, "f (z.py:1)": 3, "g (z.py:5)": 4, "h (z.py:9)": 2}
    assert stacks.threads == {"MainThread": 4, "log-writer": 2}


@pytest.mark.parametrize(
    ("worst_us", "grown", "merges", "good"),
    [(1900, 100, 1, True), (2100, 100, 1, False), (1900, 130, 1, False), (1900, 100, 0, False)],
)
def test_steady_load_is_judged(worst_us: int, grown: int, merges: int, *, good: bool) -> None:
    """A high p99, growing memory, or nothing that could have been noticed: each fails."""

    def window(p99_us: int, resident: int) -> Window:
        return Window(Seen(100, 1000, 500, p99_us, p99_us, 0, 0.1), merges, {1: resident})

    windows = [window(9999, 50), *[window(1000, 100)] * 6, window(worst_us, grown)]
    assert judge(windows, Console(quiet=True)) is good
