"""``fsck --repair``: does to a stopped worker's folder what its next start would do, and says what was lost.

It is that start's own code: votes are given up first, damaged files are set aside, what is sound is
kept. What is lost comes back from the peers when the worker runs again.
"""

from __future__ import annotations

from kvnode.errors import NoSpaceError, StorageError
from kvnode.storage.disk import Disk
from kvnode.storage.findings import FolderReport, Severity
from kvnode.storage.fsck import FolderCheck, locked
from kvnode.storage.identity import read_identity
from kvnode.storage.segment import DAMAGED
from kvnode.storage.store import Store
from kvnode.storage.upkeep import Upkeep

SEGMENT_BYTES = 64 << 20
_FAST = 1 << 30


def repair_folder(disk: Disk, folder: str) -> FolderReport:
    """Check a folder, and mend it where a start would. Raises LockedError, StorageError, OSError."""
    with locked(disk):
        check = FolderCheck(disk, folder)
        report = check.run()
        identity = read_identity(disk) if report.worst() is not Severity.FATAL else None
    if report.worst() is Severity.FATAL:
        report.repaired.append("nothing was changed: this needs a person")
    elif report.findings and identity is not None and check.partitions is not None:
        _mend(disk, report, identity.worker, check.partitions)
    return report


def _mend(disk: Disk, report: FolderReport, worker: int, partitions: int) -> None:
    """Start a store on the folder and let it do all that it does by itself."""
    failures: list[BaseException] = []
    lost: set[int] = set()
    before = set(disk.names())
    store = Store.open(
        disk,
        worker=worker,
        partitions=partitions,
        segment_bytes=SEGMENT_BYTES,
        on_durable=lambda _: None,
        on_failure=failures.append,
        on_damage=lost.update,
        upkeep=Upkeep(scrub_bytes_per_s=_FAST),
    )
    try:
        had = {partition for partition in range(partitions) if store.voting(partition)}
        while store.tidier.step() is not None and not (failures or store.full):
            store.committer.step()
        if store.full:
            raise NoSpaceError("the repair was not finished for want of space")
    finally:
        store.close()
    if failures:
        raise StorageError(f"the repair was not finished: {failures[0]}")
    aside = sorted(name for name in set(disk.names()) - before if name.endswith(DAMAGED))
    report.repaired += [f"{name}: set aside; its sound lines are kept" for name in aside]
    votes = partitions if report.worst() is Severity.DAMAGE and not had else len(lost)
    if votes:
        report.repaired.append(
            f"the votes of {votes} partitions were given up: the worker is rebuilt from its peers when it "
            "starts, and needs both other replicas of each for that"
        )
    else:
        report.repaired.append("no record was lost")
