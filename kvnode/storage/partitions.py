"""What a replica keeps per partition beside its records: promise, floor, right to vote."""

from __future__ import annotations

from kvnode.core.versions import NO_BALLOT, NO_VERSION
from kvnode.errors import StorageError
from kvnode.storage.lines import (
    FloorLine,
    PromiseLine,
    StateLine,
    encode_floor,
    encode_promise,
    encode_voting,
)


class PartitionStates:
    """The states of all partitions. They only ever rise, so that replaying a line twice is harmless."""

    def __init__(self, partitions: int) -> None:
        self.promised = [NO_BALLOT] * partitions
        self.floor = [NO_VERSION] * partitions
        self.voting = [False] * partitions

    def apply(self, line: StateLine) -> None:
        """Take a line of the log into account. Raises StorageError for a partition out of range."""
        partition = line.p
        if not 0 <= partition < len(self.voting):
            raise StorageError(f"partition {partition} of {len(self.voting)}")
        if isinstance(line, PromiseLine):
            self.promised[partition] = max(self.promised[partition], line.b)
        elif isinstance(line, FloorLine):
            self.floor[partition] = max(self.floor[partition], line.ver)
        else:
            self.voting[partition] = True

    def encode(self) -> bytes:
        """Return the lines that say it all, for the head of a new segment."""
        lines = [encode_promise(p, b) for p, b in enumerate(self.promised) if b != NO_BALLOT]
        lines += [encode_floor(p, v) for p, v in enumerate(self.floor) if v != NO_VERSION]
        lines += [encode_voting(p) for p, voting in enumerate(self.voting) if voting]
        return b"".join(lines)
