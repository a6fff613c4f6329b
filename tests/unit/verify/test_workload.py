"""Workloads beside each other: several on the same keys are one history."""

from __future__ import annotations

import asyncio
import time

from kvnode.verify.checker import check
from kvnode.verify.history import Told
from kvnode.verify.workload import Plan, Workload
from tests.unit.verify.server import BreakingServer, Server, serving


async def test_two_workloads_on_the_same_keys_are_one_history() -> None:
    """Their operations together are linearizable, and no client or value is in both."""
    began_ns = time.monotonic_ns()
    async with serving(Server()) as url:
        plans = [Plan((url,), "k", 4, 3, 2000, seed=n, first_client=4 * n) for n in range(2)]
        both = [Workload(plan) for plan in plans]
        enough = lambda: min(len(one.ops) for one in both) > 100  # noqa: E731
        await asyncio.gather(*(one.run(enough, began_ns) for one in both))
    ops = [op for one in both for op in one.ops]
    assert {op.client for op in ops} == set(range(8))
    assert max(both[0].ops[0].start_us, both[1].ops[0].start_us) < min(one.ops[-1].start_us for one in both)
    assert check(ops).linearizable


async def test_a_failure_is_told_with_its_reason() -> None:
    """Whoever is told of a failed operation finds the words of the failure."""
    told: list[str] = []
    async with serving(BreakingServer()) as url:
        workload = Workload(
            Plan((url,), "k", 2, 3, 2000),
            lambda op: told.append(workload.complaint) if op.told is Told.UNKNOWN else None,
        )
        await workload.run(lambda: len(told) > 3)
    assert all(told)
