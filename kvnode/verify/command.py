"""``kvnode verify``: works on a running cluster, whatever is done to it meanwhile, and judges what it saw."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from kvnode.verify.checker import Verdict, check
from kvnode.verify.history import Op, Told, write_history
from kvnode.verify.report import Summary, summary
from kvnode.verify.workload import Plan, Workload, discover

LINEARIZABLE = 0
VIOLATED = 1
UNDECIDED = 2
REFRESHES_A_S = 4


class Options(msgspec.Struct, frozen=True):
    """What the command was asked for."""

    urls: tuple[str, ...]
    seconds: float
    clients: int
    keys: int
    rate: float
    timeout_s: float
    history: Path | None


async def verify(options: Options, console: Console) -> int:
    """Work, clean up, judge, print; return the exit code: 0 linearizable, 1 violated, 2 undecided."""
    workload = await _work(options, console)
    if options.history is not None:
        with options.history.open("wb") as file:
            write_history(file, workload.ops)
    seen = summary(workload.ops, int(options.seconds * 1e6))
    console.print(_table(workload.ops, seen))
    if seen.answered == 0:
        console.print(f"[red]nothing was answered:[/red] {workload.complaint}")
        return UNDECIDED
    return _say(check(workload.ops), console)


async def _work(options: Options, console: Console) -> Workload:
    urls = options.urls
    if len(urls) == 1:
        urls = await discover(urls[0], options.timeout_s)
    prefix = f"verify/{secrets.token_hex(4)}/"
    plan = Plan(
        urls,
        prefix,
        options.clients,
        options.keys,
        options.rate,
        options.timeout_s,
        seed=secrets.randbelow(1 << 30),
    )
    console.print(
        f"{options.clients} clients ask {', '.join(urls)} for {options.seconds:g} s, keys {prefix}*"
    )
    end_s = time.monotonic() + options.seconds
    with Live(console=console, refresh_per_second=REFRESHES_A_S, transient=True) as live:
        workload = Workload(plan, lambda op: live.update(_line(workload, op), refresh=False))
        await workload.run(lambda: time.monotonic() >= end_s)
    if not await workload.clean():
        console.print(f"[yellow]some keys below {prefix} could not be deleted: delete them later[/yellow]")
    return workload


def _line(workload: Workload, op: Op) -> str:
    failed = "" if op.told not in {Told.NOT_DONE, Told.UNKNOWN} else f"  {workload.complaint:.100}"
    return f"{op.start_us / 1e6:7.1f} s  {len(workload.ops):,} operations{failed}"


def _table(ops: list[Op], seen: Summary) -> Table:
    table = Table("", "", show_header=False)
    table.add_row(
        "operations", f"{len(ops):,}: " + ", ".join(f"{n:,} {told}" for told, n in seen.told.items())
    )
    table.add_row("answered", f"{seen.answered:.3%}")
    table.add_row("longest time without success", f"{seen.gap_s:.2f} s")
    for asked, took in seen.latency_ms.items():
        if took:
            p50, p99, p999 = took
            table.add_row(asked, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, p99.9 {p999:.1f} ms")
    return table


def _say(verdict: Verdict, console: Console) -> int:
    for finding in verdict.findings:
        console.print(str(finding), markup=False, highlight=False)
    if verdict.violations:
        console.print(f"[red]VIOLATED[/red] on {len(verdict.violations)} of {verdict.keys} keys")
        return VIOLATED
    if verdict.findings:
        console.print(f"[yellow]undecided[/yellow] on {len(verdict.findings)} of {verdict.keys} keys")
        return UNDECIDED
    console.print(f"[green]linearizable[/green]: {verdict.ops:,} operations on {verdict.keys} keys")
    return LINEARIZABLE
