"""The offline check of a stopped worker's data folder: reads everything, changes nothing.

It looks at what a start trusts (the lines behind a whole hint file) as well as at what a start reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvnode.core.identity import Identity
from kvnode.errors import DamageError, LockedError, StorageError
from kvnode.storage.disk import LOCK_NAME, Disk, File
from kvnode.storage.findings import FolderReport, Severity
from kvnode.storage.hints import HintState, hint_state
from kvnode.storage.identity import IDENTITY_NAME, read_identity
from kvnode.storage.line_check import LineCheck
from kvnode.storage.line_kinds import HeaderLine
from kvnode.storage.lines import LineError, UnknownLineError, decode
from kvnode.storage.segment import (
    DAMAGED,
    TEMPORARY,
    check_header,
    hint_name,
    is_log_file,
    numbers,
    segment_name,
    split_lines,
)


def check_folder(disk: Disk, folder: str) -> FolderReport:
    """Check a data folder. Raises LockedError when a worker uses it, StorageError, OSError."""
    with locked(disk):
        return FolderCheck(disk, folder).run()


@contextmanager
def locked(disk: Disk) -> Iterator[None]:
    """Hold the folder's lock, or say which worker has it. Raises LockedError."""
    try:
        disk.lock()
    except LockedError as error:
        try:
            identity = read_identity(disk)
        except StorageError:
            identity = None
        who = f"worker {identity.worker}" if identity is not None else "a worker"
        raise LockedError(f"{who} is running: {error}") from error
    try:
        yield
    finally:
        disk.unlock()


class FolderCheck:
    """One check of one folder, whose lock is held."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._names = disk.names()
        self._report = FolderReport(folder)
        self._headers: dict[int, HeaderLine] = {}
        self._files: dict[int, File] = {}
        self._blank: set[int] = set()

    def run(self) -> FolderReport:
        """Check everything."""
        identity = self._identity()
        try:
            for number in numbers(self._names, "jsonl"):
                self._files[number] = self._disk.open(segment_name(number))
                self._header(number, identity)
            replaced = {number for header in self._headers.values() for number in header.replaces}
            self._segments(replaced)
            self._list(replaced)
            self._hints(replaced)
            self._leftovers(replaced)
        finally:
            for file in self._files.values():
                file.close()
        self._report.findings.sort(key=lambda finding: (finding.file, finding.line))
        return self._report

    def _identity(self) -> Identity | None:
        """Check whose folder it is."""
        report, identity = self._report, None
        try:
            identity = read_identity(self._disk)
        except DamageError as error:
            report.add(Severity.FATAL, "damaged_identity", IDENTITY_NAME, error.reason)
            return None
        except StorageError as error:
            report.add(Severity.FATAL, "wrong_identity", IDENTITY_NAME, str(error))
            return None
        if identity is not None:
            report.worker = identity.worker
        elif left := [name for name in self._names if is_log_file(name)]:
            reason = f"there is {left[0]}, but not whose it is: bring it back, or move the folder away"
            report.add(Severity.FATAL, "missing_identity", IDENTITY_NAME, reason)
        return identity

    def _header(self, number: int, identity: Identity | None) -> None:
        """Check a segment's first line."""
        report, file = self._report, self._files[number]
        _, first = next(split_lines(file, file.size()), (0, b""))
        if not first.endswith(b"\n"):
            self._blank.add(number)
            return
        try:
            line = decode(first)
            partitions = line.partitions if isinstance(line, HeaderLine) else 0
            owner = identity or _owner_of(line)
            self._headers[number] = check_header(line, number, owner, self.partitions or partitions)
        except UnknownLineError as error:
            report.add(Severity.FATAL, "unknown_line", file.name, f"{error} (a later release?)", line=1)
        except LineError as error:
            report.add(Severity.DAMAGE, "wrong_header", file.name, str(error), line=1)
        except DamageError as error:
            report.add(Severity.DAMAGE, "wrong_header", file.name, error.reason, line=1)
        except StorageError as error:
            report.add(Severity.FATAL, "foreign_segment", file.name, str(error), line=1)

    @property
    def partitions(self) -> int | None:
        """How many partitions there are, as far as any header says."""
        return next((header.partitions for header in self._headers.values()), None)

    def _segments(self, replaced: set[int]) -> None:
        """Check the lines of all segments that count, in order of place, then of those without one."""
        report = self._report
        lines = LineCheck(report, self.partitions)
        placed = sorted((h for h in self._headers.values()), key=lambda header: header.place)
        newest = placed[-1].place if placed else 0
        used: dict[int, int] = {}
        for header in placed:
            number, file = header.segment, self._files[header.segment]
            report.counts.segments += 1
            report.counts.bytes += file.size()
            if number in replaced:
                report.add(
                    Severity.HARMLESS, "replaced_segment", file.name, "a merge was not cleaned up after"
                )
            elif header.place in used:
                reason = f"it has the place of {segment_name(used[header.place])}"
                report.add(Severity.SUSPECT, "duplicate_place", file.name, reason, line=1)
            else:
                used[header.place] = number
            if number not in replaced:
                lines.check(file, newest=header.place == newest, placed=True)
        for number in sorted(self._blank & replaced):
            report.add(Severity.HARMLESS, "replaced_segment", segment_name(number), "and its header is gone")
        for number in sorted(self._files.keys() - self._headers.keys() - replaced):
            file = self._files[number]
            report.counts.segments += 1
            report.counts.bytes += file.size()
            if number in self._blank and number > newest:
                report.add(Severity.HARMLESS, "torn_tail", file.name, "created, and never written", line=1)
            else:
                if number in self._blank:
                    report.add(Severity.DAMAGE, "wrong_header", file.name, "the header is gone", line=1)
                lines.check(file, newest=False, placed=False)

    def _list(self, replaced: set[int]) -> None:
        """Compare with what the newest header says that there was."""
        appended = [header for header in self._headers.values() if not header.replaces]
        if not appended:
            return
        for number, size in max(appended, key=lambda header: header.place).log:
            name = segment_name(number)
            if number in self._files:
                actual = self._files[number].size()
                if actual != size and number not in replaced:
                    reason = f"the file has {actual} bytes, and had {size}"
                    self._report.add(Severity.DAMAGE, "wrong_size", name, reason)
            elif number not in replaced:
                self._report.add(Severity.DAMAGE, "missing_segment", name, f"it had {size} bytes")

    def _hints(self, replaced: set[int]) -> None:
        """Check that each sealed segment has a hint file that speaks for it."""
        newest = max((header.place for header in self._headers.values()), default=0)
        for number, header in self._headers.items():
            if number in replaced:
                continue
            state = hint_state(self._disk, number, self._files[number].size())
            if state is HintState.WHOLE or (state is HintState.MISSING and header.place == newest):
                continue
            if state is HintState.LONGER:
                reason = "its hint file speaks for more bytes than it has"
                self._report.add(Severity.DAMAGE, "wrong_size", segment_name(number), reason)
            else:
                kind, reason = f"{state.value}_hint", "it will be made anew"
                self._report.add(Severity.HARMLESS, kind, hint_name(number), reason)

    def _leftovers(self, replaced: set[int]) -> None:
        """Report what a crash has left, and what is not ours."""
        report = self._report
        for name in self._names:
            report.counts.files += 1
            if name.endswith(TEMPORARY):
                report.add(Severity.HARMLESS, "leftover", name, "half written when the process died")
            elif name.endswith(DAMAGED):
                report.counts.set_aside += 1
            elif name not in {IDENTITY_NAME, LOCK_NAME} and not is_log_file(name):
                report.add(Severity.HARMLESS, "stranger", name, "no file of a worker's")
        for number in sorted(set(numbers(self._names, "hint")) - self._files.keys() - replaced):
            report.add(Severity.HARMLESS, "leftover", hint_name(number), "its segment is gone")


def _owner_of(line: object) -> Identity:
    """Return the identity that a header claims, where the folder's own is not known."""
    if isinstance(line, HeaderLine):
        return Identity(line.worker, line.incarnation, line.cluster)
    return Identity(0, "")
