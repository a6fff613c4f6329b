"""Runs seeds of the simulation: ``run`` many and count, or ``replay`` one and tell what happened."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from kvnode.verify.history import write_history
from tests.simulation.history import history
from tests.simulation.runner import show, silence, simulate_many
from tests.simulation.simulation import Simulation
from tests.simulation.trace import trace


def main() -> int:
    """Do what the arguments say; 0 if no rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="live through many seeds")
    run.add_argument("--seeds", type=int, default=1000, help="how many (1000)")
    run.add_argument("--first", type=int, default=1, help="the first seed (1)")
    run.add_argument("--jobs", type=int, default=2, help="processes at a time (2)")
    run.add_argument("--json", type=Path, help="write the figures to this file")
    run.set_defaults(command=_run)
    replay = commands.add_parser("replay", help="live through one seed and tell what happened")
    replay.add_argument("seed", type=int)
    replay.add_argument("--whole", action="store_true", help="tell everything, not only what went wrong")
    replay.add_argument("--history", type=Path, help="write what clients saw to this file, as JSON lines")
    replay.set_defaults(command=_replay)
    arguments = parser.parse_args()
    failed: bool = arguments.command(arguments)
    return int(failed)


def _run(arguments: argparse.Namespace) -> bool:
    console = Console()
    figures = simulate_many(arguments.first, arguments.seeds, arguments.jobs, console)
    show(figures, console)
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    return bool(figures.failures)


def _replay(arguments: argparse.Namespace) -> bool:
    silence()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    simulation = Simulation(arguments.seed)
    console.print(simulation.plan)
    error: Exception | None = None
    try:
        simulation.run()
    except Exception as raised:  # noqa: BLE001 - whatever it is, it is what is to be shown
        error = raised
    for line in trace(simulation, whole=arguments.whole or error is None):
        console.print(line)
    console.print("every promise was kept" if error is None else f"{type(error).__name__}: {error}")
    if arguments.history is not None:
        with arguments.history.open("wb") as file:
            write_history(file, history(simulation.calls))
    return error is not None


if __name__ == "__main__":
    sys.exit(main())
