"""Checks every line of the log in the order in which it counts: each by itself, and against those before."""

from __future__ import annotations

from kvnode.core.versions import NO_VERSION, Ballot, Version
from kvnode.storage.damage import flaw_of
from kvnode.storage.disk import File
from kvnode.storage.findings import Counts, FolderReport, Severity
from kvnode.storage.line_kinds import HeaderLine, KeyLine, Line, PromiseLine, StateLine, ValueLine
from kvnode.storage.lines import MAX_KEY_BYTES, MAX_LINE_BYTES, LineError, UnknownLineError
from kvnode.storage.opening import goes_on, is_whole
from kvnode.storage.segment import survey


class LineCheck:
    """Checks segments one after the other, in order of place. ``partitions`` is None when nobody knows."""

    def __init__(self, report: FolderReport, partitions: int | None) -> None:
        self._report = report
        self._partitions = partitions
        self._promised: dict[int, Ballot] = {}
        self._ranks: dict[tuple[int, str], tuple[Ballot, Version]] = {}
        self._file = ""
        self._number = 0
        self._offset = 0

    def check(self, file: File, *, newest: bool, placed: bool) -> None:
        """Check all lines of a segment; the last line of the ``newest`` may be torn."""
        counts, size = self._report.counts, file.size()
        self._file = file.name
        for number, (offset, line, meaning) in enumerate(survey(file, size), 1):
            self._number, self._offset = number, offset
            counts.lines += 1
            if newest and not line.endswith(b"\n") and offset + len(line) == size:
                self._torn(line)
            elif isinstance(meaning, UnknownLineError):
                self._add(Severity.FATAL, "unknown_line", f"{meaning} (written by a later release?)")
            elif flaw := flaw_of(meaning, offset):
                self._flawed(flaw, meaning)
            elif not isinstance(meaning, LineError | HeaderLine):
                self._sound(line, meaning, counts, ordered=placed)

    def _torn(self, line: bytes) -> None:
        """Judge what the newest segment ends with in place of a whole line."""
        if is_whole(line + b"\n"):
            self._add(Severity.HARMLESS, "torn_tail", "only the line break is missing; it will be added")
        elif goes_on(line):
            self._add(
                Severity.DAMAGE, "wrong_line", "a whole line lacks its line break, but the file goes on"
            )
        else:
            self._add(Severity.HARMLESS, "torn_tail", f"{len(line)} bytes of a line never acknowledged")

    def _flawed(self, flaw: str, meaning: Line | LineError) -> None:
        """Report a damaged line; a damaged header is reported by whoever reads headers."""
        if self._offset:
            kind = "wrong_checksum" if isinstance(meaning, LineError) else "wrong_line"
            self._add(Severity.DAMAGE, kind, flaw)

    def _sound(self, line: bytes, meaning: Line, counts: Counts, *, ordered: bool) -> None:
        """Check a line that is what was written."""
        if not isinstance(meaning, KeyLine | StateLine):
            return
        if self._partitions is not None and not 0 <= meaning.p < self._partitions:
            self._add(Severity.FATAL, "wrong_partition", f"partition {meaning.p} of {self._partitions}")
        elif isinstance(meaning, KeyLine):
            if isinstance(meaning, ValueLine):
                counts.values += 1
            else:
                counts.tombstones += 1
            self._sizes(line, meaning)
            if ordered:
                self._rank(meaning)
        else:
            counts.states += 1
            if ordered and isinstance(meaning, PromiseLine):
                self._promise(meaning)

    def _sizes(self, line: bytes, meaning: KeyLine) -> None:
        """Report what no worker would have accepted."""
        key_bytes = len(meaning.k.encode())
        if not 0 < key_bytes <= MAX_KEY_BYTES:
            self._add(Severity.SUSPECT, "size_limit", f"a key of {key_bytes} bytes")
        if len(line) > MAX_LINE_BYTES:
            self._add(Severity.SUSPECT, "size_limit", f"a line of {len(line)} bytes")

    def _rank(self, meaning: KeyLine) -> None:
        """Report a record that stands after a newer one of its key."""
        place, rank = (meaning.p, meaning.k), (meaning.a, meaning.ver)
        before = self._ranks.get(place)
        if meaning.ver == NO_VERSION:
            self._ranks.pop(place, None)
        elif before is not None and rank < before:
            reason = f"version {meaning.ver} of {meaning.k!r} stands after {before[1]}"
            self._add(Severity.SUSPECT, "record_falls", reason)
        else:
            self._ranks[place] = rank

    def _promise(self, meaning: PromiseLine) -> None:
        """Report a promise that stands after a higher one of its partition."""
        before = self._promised.get(meaning.p)
        if before is not None and meaning.b < before:
            reason = f"partition {meaning.p}: {tuple(meaning.b)} stands after {tuple(before)}"
            self._add(Severity.SUSPECT, "promise_falls", reason)
        else:
            self._promised[meaning.p] = meaning.b

    def _add(self, severity: Severity, kind: str, reason: str) -> None:
        """Add a finding at the line that is being checked."""
        self._report.add(severity, kind, self._file, reason, line=self._number, offset=self._offset)
