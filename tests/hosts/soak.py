"""Random faults under steady load on the five hosts: ``python -m tests.hosts.soak --seconds 600 --seed 7``.

Uses the hosts that ``make hosts`` has up, or boots some and removes them again. The history and the faults
are kept below ``.cache/soak``; after a failure the hosts' journals too.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from kvnode.verify.history import write_history
from tests.hosts.account import Account
from tests.hosts.cluster import Cluster
from tests.hosts.copies import until_equal
from tests.hosts.machines import Claim, HostsError, Machines
from tests.hosts.nemesis import Nemesis
from tests.hosts.plan import CHECKOUT, HOSTS, WORKERS
from tests.hosts.playbook import play
from tests.hosts.schedule import rounds
from tests.hosts.traffic import Traffic
from tests.hosts.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEPT = CHECKOUT / ".cache" / "soak"
EQUAL_S = 30.0
WARM = 200
LOOK_S = 1.0


def soak(cluster: Cluster, seed: int, seconds: float, say: Callable[[str], None]) -> Account:
    """Break the cluster for so long, let it heal, and give account. ``say`` is told a line a second."""
    with Traffic(WORKERS, f"soak-{seed}-{time.time_ns()}", seed) as traffic:
        until(lambda: traffic.successes() > WARM, 60, "the cluster to answer")
        with Nemesis(cluster, rounds(seed)) as nemesis:
            end_s = time.monotonic() + seconds
            while (left_s := end_s - time.monotonic()) > 0 and not nemesis.failed:
                say(_line(seconds - left_s, traffic, nemesis))
                time.sleep(min(LOOK_S, left_s))
        healed_from_s = time.monotonic()
        traffic.stop()
        differ = until_equal(cluster.client, EQUAL_S)
        equal_after_s = None if differ else time.monotonic() - healed_from_s
        traffic.read_all()
    account = Account(
        seed=seed,
        seconds=seconds,
        ops=traffic.ops(),
        failures=traffic.failures,
        faults=nemesis.done,
        whole_at_s=nemesis.whole_at_s,
        equal_after_s=equal_after_s,
        differences=differ,
        lost=traffic.lost(),
        violations=[f"{it.key}: {it.reason}" for it in traffic.judge().findings],
    )
    _keep(account, nemesis, cluster)
    return account


def folder(seed: int) -> Path:
    """Where a run's history, faults and journals are kept, until the next run with this seed."""
    return KEPT / str(seed)


def _line(passed_s: float, traffic: Traffic, nemesis: Nemesis) -> str:
    now = ", ".join(str(step) for step in nemesis.under_way) or "-"
    done, failed = len(traffic.ops()), len(traffic.failures)
    return (
        f"{passed_s:4.0f} s {len(nemesis.done):4} faults {done:8,} operations {failed:6,} failed  now: {now}"
    )


def _keep(account: Account, nemesis: Nemesis, cluster: Cluster) -> None:
    kept = folder(account.seed)
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    with (kept / "history.jsonl").open("wb") as file:
        write_history(file, account.ops)
    began = [json.dumps(asdict(done)) for done in nemesis.done]
    (kept / "faults.jsonl").write_text("\n".join(began) + "\n", encoding="utf-8")
    (kept / "failures.txt").write_text("\n".join(map(str, account.failures)) + "\n", encoding="utf-8")
    (kept / "account.txt").write_text("\n".join(account.lines()) + "\n", encoding="utf-8")
    if not account.passed:
        for host in HOSTS:
            said = cluster.run(
                host, f"journalctl --no-pager --unit={host.unit} --since=-{_minutes(account)}min"
            )
            (kept / f"{host.name}.log").write_text(said, encoding="utf-8")


def _minutes(account: Account) -> int:
    return int(account.seconds // 60) + 3


@contextmanager
def _hosts() -> Iterator[Cluster]:
    """Use the hosts that are up, or boot and install some for as long as they are needed."""
    claim = Claim.read()
    kept = claim is not None and claim.keep and claim.in_use()
    machines = claim.machines() if claim and kept else Machines()
    if not kept:
        print("booting five hosts and installing kvnode on them (about a minute)", flush=True)
        machines.up()
    cluster = Cluster(machines)
    try:
        if not kept:
            played = play(machines.traces)
            if played.failed:
                raise HostsError(f"the playbook failed:\n{played.output[-4000:]}")
        cluster.mend()
        yield cluster
    finally:
        cluster.close()
        if not kept:
            machines.sweep()


def _say(line: str) -> None:
    if sys.stdout.isatty():
        print(f"\r{line:<118.118}", end="", flush=True)
    else:
        print(line, flush=True)


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(100_000))
    chosen = parser.parse_args()
    seed = chosen.seed
    print(f"seed {seed}", flush=True)
    try:
        with _hosts() as cluster:
            account = soak(cluster, seed, chosen.seconds, _say)
    except (HostsError, RuntimeError, TimeoutError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print("\n" + "\n".join(account.lines()))
    print(f"\nkept in {folder(seed)}; again: make soak SECONDS={chosen.seconds:g} SEED={seed}")
    return 0 if account.passed else 1


if __name__ == "__main__":
    sys.exit(main())
