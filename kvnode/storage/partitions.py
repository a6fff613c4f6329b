"""What a replica keeps per partition beside its records: promise, floor, right to vote."""

from __future__ import annotations

from kvnode.core.versions import NO_BALLOT, NO_VERSION, Version
from kvnode.errors import StorageError
from kvnode.storage.line_kinds import FloorLine, PromiseLine, StateLine
from kvnode.storage.lines import encode_floor, encode_promise, encode_voting


class PartitionStates:
    """The states of all partitions. Promises and floors only rise; of votes the later line wins.

    A lost vote is said as loudly as a given one in the head of each new segment, because a merge drops
    the line that took it away and may keep an older head that gave it.
    """

    def __init__(self, partitions: int) -> None:
        self.promised = [NO_BALLOT] * partitions
        self.floor = [NO_VERSION] * partitions
        self.forgotten = [NO_VERSION] * partitions
        self.voting = [False] * partitions
        self.votes = 0
        self._revoked: set[int] = set()

    def apply(self, line: StateLine) -> None:
        """Take a line of the log into account. Raises StorageError for a partition out of range."""
        partition = line.p
        if not 0 <= partition < len(self.voting):
            raise StorageError(f"partition {partition} of {len(self.voting)}")
        if isinstance(line, PromiseLine):
            self.promised[partition] = max(self.promised[partition], line.b)
        elif isinstance(line, FloorLine):
            self.raise_floor(partition, line.ver, line.gone)
        else:
            self.set_voting(partition, voting=not line.no)

    def raise_floor(self, partition: int, floor: Version, forgotten: Version) -> None:
        """Raise a floor, and what is forgotten under it."""
        self.floor[partition] = max(self.floor[partition], floor)
        self.forgotten[partition] = max(self.forgotten[partition], forgotten)

    def set_voting(self, partition: int, *, voting: bool) -> None:
        """Give the right to vote, or take it away."""
        self.votes += voting - self.voting[partition]
        self.voting[partition] = voting
        if voting:
            self._revoked.discard(partition)
        else:
            self._revoked.add(partition)

    def encode(self) -> bytes:
        """Return the lines that say it all, for the head of a new segment."""
        lines = [encode_promise(p, b) for p, b in enumerate(self.promised) if b != NO_BALLOT]
        lines += [
            encode_floor(p, floor, self.forgotten[p])
            for p, floor in enumerate(self.floor)
            if floor != NO_VERSION
        ]
        lines += [
            encode_voting(p, voting=voting)
            for p, voting in enumerate(self.voting)
            if voting or p in self._revoked
        ]
        return b"".join(lines)
