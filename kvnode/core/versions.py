"""Ballots and versions: the two orders that the protocol rests on.

A ballot says who leads a partition; a version names the write that made a record. Both are
plain tuples, ordered as tuples are, so that comparing them is one C call.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = re.compile(r"([1-9]\d{0,17})\.([1-9]\d{0,8})\.([1-9]\d{0,17})")


class Ballot(NamedTuple):
    """Who leads a partition: totally ordered, and used by one worker in one process only."""

    term: int
    worker: int


class Version(NamedTuple):
    """The write that made a record: the ballot it was written under and its number there."""

    term: int
    worker: int
    seq: int

    def __str__(self) -> str:
        """Return the form clients see in an ETag: ``term.worker.seq``."""
        return f"{self.term}.{self.worker}.{self.seq}"


NO_BALLOT = Ballot(0, 0)
"""Lower than every ballot in use: promised by a replica that has promised nothing."""

NO_VERSION = Version(0, 0, 0)
"""Lower than every version in use: the floor of a partition that has forgotten nothing."""


def parse_version(text: str) -> Version | None:
    """Read what ``str(version)`` wrote; None for anything else."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    term, worker, seq = match.groups()
    return Version(int(term), int(worker), int(seq))
