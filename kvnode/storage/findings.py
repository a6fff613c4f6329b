"""What a check of a data folder says: its findings, its counts, its verdict."""

from __future__ import annotations

from enum import Enum

import msgspec


class Severity(Enum):
    """What a finding means for the worker's next start."""

    HARMLESS = "harmless"
    """It puts this right by itself, and nothing is lost."""
    DAMAGE = "damage"
    """It starts without the votes concerned, sets bad parts aside and is made whole by its peers."""
    SUSPECT = "suspect"
    """No worker writes this, and its checksums are right: somebody else has been at work."""
    FATAL = "fatal"
    """It refuses to start."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be.

    ``kind`` is a short stable word. ``line`` counts from 1 and is 0 where the file as a whole is
    meant; ``offset`` is in bytes.
    """

    severity: Severity
    kind: str
    file: str
    line: int
    offset: int
    reason: str

    def __str__(self) -> str:
        """Return it for a person."""
        place = f"{self.file}, line {self.line}, byte {self.offset}" if self.line else self.file
        return f"{place}: {self.kind} ({self.severity.value}): {self.reason}"


class Counts(msgspec.Struct):
    """What was looked at."""

    files: int = 0
    segments: int = 0
    bytes: int = 0
    lines: int = 0
    values: int = 0
    tombstones: int = 0
    states: int = 0
    set_aside: int = 0


class FolderReport(msgspec.Struct):
    """All that a check found. ``repaired`` says, line by line, what a repair did."""

    folder: str
    worker: int | None = None
    findings: list[Finding] = msgspec.field(default_factory=list)
    counts: Counts = msgspec.field(default_factory=Counts)
    repaired: list[str] = msgspec.field(default_factory=list)

    def add(
        self, severity: Severity, kind: str, file: str, reason: str, *, line: int = 0, offset: int = 0
    ) -> None:
        """Add a finding."""
        self.findings.append(Finding(severity, kind, file, line, offset, reason))

    def worst(self) -> Severity | None:
        """Return the worst severity found; None when all is in order."""
        found = {finding.severity for finding in self.findings}
        return next((s for s in reversed(Severity) if s in found), None)

    def verdict(self) -> str:
        """Say in a sentence what it comes to."""
        return {
            None: "the folder is in order",
            Severity.HARMLESS: "nothing is lost; the worker puts this right when it starts",
            Severity.DAMAGE: (
                "data is damaged: the worker starts without the votes concerned, sets the damaged files "
                "aside and is rebuilt from its peers"
            ),
            Severity.SUSPECT: (
                "no worker writes such data, and a start would not notice: move the folder away, and the "
                "worker is rebuilt from its peers"
            ),
            Severity.FATAL: "the worker will refuse to start on this folder",
        }[self.worst()]
