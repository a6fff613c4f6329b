"""Many seeds in parallel processes, and what came of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from logging import CRITICAL
from multiprocessing import get_context
from signal import SIG_IGN, SIGINT, signal

import msgspec
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from tests.simulation.simulation import Simulation

CHUNK = 20


class Failure(msgspec.Struct, frozen=True):
    """A seed that broke a rule, and the first words of how."""

    seed: int
    error: str


class Figures(msgspec.Struct):
    """What some seeds came to. ``cpu_s`` is processor time, ``simulated_s`` time in the clusters."""

    seeds: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    operations: Counter[str] = msgspec.field(default_factory=Counter)
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    failures: list[Failure] = msgspec.field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Add what other seeds came to."""
        self.seeds += other.seeds
        self.simulated_s += other.simulated_s
        self.cpu_s += other.cpu_s
        self.operations += other.operations
        self.faults += other.faults
        self.failures += other.failures


def replay_command(seed: int) -> str:
    """Return the command that shows what happens in a seed."""
    return f"python -m tests.simulation replay {seed}"


def silence() -> None:
    """Log nothing but what ends a process: a simulated disk's troubles are no news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))


def _begin() -> None:
    """Prepare a process of the pool: Ctrl-C is for the parent."""
    signal(SIGINT, SIG_IGN)
    silence()


def simulate(seeds: Sequence[int]) -> Figures:
    """Live through some seeds, one after the other."""
    figures = Figures(seeds=len(seeds))
    began = time.process_time()
    for seed in seeds:
        simulation = Simulation(seed)
        try:
            simulation.run()
        except Exception as error:  # noqa: BLE001 - whatever a machine or an oracle raises is the finding
            figures.failures.append(Failure(seed, f"{type(error).__name__}: {error}"[:1000]))
        figures.operations += simulation.outcomes()
        figures.faults += simulation.faults()
        figures.simulated_s += simulation.cluster.now_ms / 1000
    figures.cpu_s = time.process_time() - began
    return figures


def simulate_many(first: int, count: int, jobs: int, console: Console) -> Figures:
    """Live through many seeds in ``jobs`` processes, with a progress bar; tell failures as they come.

    Interrupted from the keyboard it returns what was done until then.
    """
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    columns = (
        "seeds",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        "{task.fields[failed]} failed",
    )
    total = Figures()
    began = time.monotonic()
    with (
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin) as pool,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("", total=count, failed=0)
        try:
            for done in as_completed([pool.submit(simulate, chunk) for chunk in chunks]):
                figures = done.result()
                total.add(figures)
                for failure in figures.failures:
                    console.print(f"seed {failure.seed}: {failure.error}", markup=False, soft_wrap=True)
                progress.update(task, advance=figures.seeds, failed=len(total.failures))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    total.elapsed_s = time.monotonic() - began
    total.failures.sort(key=lambda failure: failure.seed)
    return total


def show(figures: Figures, console: Console) -> None:
    """Print the table of what many seeds came to, and how to see the failures again."""
    table = Table("what", "figure")
    table.add_row("seeds", f"{figures.seeds:,}")
    table.add_row("simulated time", f"{figures.simulated_s / 3600:.2f} h")
    table.add_row(
        "time", f"{figures.elapsed_s:.0f} s ({figures.cpu_s / max(1, figures.seeds):.3f} s of CPU a seed)"
    )
    table.add_row("operations", f"{sum(figures.operations.values()):,}")
    for name, count in _by_number(figures.operations.items()):
        table.add_row(f"  {name}", f"{count:,}")
    table.add_row("faults", f"{sum(figures.faults.values()):,}")
    for name, count in _by_number(figures.faults.items()):
        table.add_row(f"  {name}", f"{count:,}")
    table.add_row("failures", f"{len(figures.failures)}")
    console.print(table)
    for failure in figures.failures:
        console.print(f"{replay_command(failure.seed)}", markup=False)


def _by_number(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(counts, key=lambda item: -item[1])
