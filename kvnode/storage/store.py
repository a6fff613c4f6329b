"""The face of storage: one worker's records, promises and identity, in memory and on disk.

It is ``kvnode.core.journal.Journal``, and what the program needs beside that. All methods are for
one thread, the event loop's; ``start`` adds two of its own, the writer and the tidier. Without
``start`` nothing becomes durable but by ``committer.step()``, and nothing is merged but by
``tidier.step()``: so a simulation drives the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kvnode.core.hash_tree import HashTree, bucket_of, entry_hash
from kvnode.core.identity import Identity
from kvnode.core.records import Entry, Record
from kvnode.core.versions import Ballot, Version
from kvnode.errors import DamageError, NoSpaceError, StorageError
from kvnode.storage.disk import Disk
from kvnode.storage.identity import own_identity, write_identity
from kvnode.storage.keydir import digest_of, is_copied, pack, place_of, rank_of, scan, unpack
from kvnode.storage.lines import (
    LineError,
    encode_floor,
    encode_promise,
    encode_record,
    encode_voting,
    head_of,
    value_of,
)
from kvnode.storage.log import Log
from kvnode.storage.recovery import Recovered, recover
from kvnode.storage.salvage import Mender
from kvnode.storage.segment import segment_name
from kvnode.storage.space import Space, is_no_space
from kvnode.storage.tidy import Tidier
from kvnode.storage.upkeep import USUAL_UPKEEP, Upkeep

KEYS_PAGE = 256


class Store:
    """The records of one worker. Open one with ``Store.open``.

    After the disk has failed it stays usable in memory: the process is expected to stop.
    """

    def __init__(
        self,
        log: Log,
        recovered: Recovered,
        space: Space,
        upkeep: Upkeep,
        on_damage: Callable[[frozenset[int]], None],
    ) -> None:
        self._log = log
        self._space = space
        self._keydirs = recovered.keydirs
        self._trees = recovered.trees
        self._states = recovered.states
        self.committer = log.committer
        self._mender = Mender(log, recovered.keydirs, recovered.trees, self.clear_voting, on_damage)
        self.tidier = Tidier(log, recovered.keydirs, self._mender, upkeep)

    @classmethod
    def open(
        cls,
        disk: Disk,
        *,
        worker: int,
        partitions: int,
        segment_bytes: int,
        on_durable: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        on_damage: Callable[[frozenset[int]], None] = lambda _: None,
        upkeep: Upkeep = USUAL_UPKEEP,
    ) -> Store:
        """Lock the data folder and read it; a blank one gets a new incarnation.

        ``on_durable(lsn)`` and ``on_failure(error)`` are called from the writer's thread, the latter
        from the tidier's too, and ``on_damage(partitions)``, which have lost records and votes, from
        the caller's or the tidier's. With damage that is there already the store opens without votes.
        Raises LockedError, NoSpaceError, StorageError, and DamageError for the identity alone.
        """
        try:
            disk.lock()
            try:
                identity = own_identity(disk, worker)
                recovered = recover(disk, identity, partitions)
                space = Space(disk, upkeep.reserve_bytes)
                log = Log(disk, identity, recovered, segment_bytes, space, on_durable, on_failure)
                store = cls(log, recovered, space, upkeep, on_damage)
                if recovered.damaged:
                    store._mender.give_up_all()
            except BaseException:
                disk.unlock()
                raise
        except OSError as error:
            kind = NoSpaceError if is_no_space(error) else StorageError
            raise kind(f"the data folder cannot be used: {error}") from error
        return store

    def start(self) -> None:
        """Start the writer's and the tidier's thread."""
        self.committer.start()
        self.tidier.start()

    def close(self) -> None:
        """Make everything durable that was appended, end the threads and let the folder go."""
        self.tidier.close()
        self.committer.close()
        self._log.close()
        self._log.disk.unlock()

    @property
    def identity(self) -> Identity:
        """Whose disk this is."""
        return self._log.identity

    def write_identity(self, identity: Identity) -> None:
        """Replace the identity, durably before this returns. Raises NoSpaceError and OSError."""
        try:
            write_identity(self._log.disk, identity)
        except OSError as error:
            if is_no_space(error):
                raise NoSpaceError(f"the identity cannot be written: {error}") from error
            raise
        self._log.identity = identity

    @property
    def appended_lsn(self) -> int:
        """The number of the newest append."""
        return self.committer.appended_lsn

    @property
    def durable_lsn(self) -> int:
        """All appends up to this number have been written and synced."""
        return self.committer.durable_lsn

    @property
    def full(self) -> bool:
        """Whether the disk has no space to spare: nothing may be accepted or promised now."""
        return self._space.full

    @property
    def losses(self) -> int:
        """How often records were lost since the start."""
        return self._mender.losses

    @property
    def counts(self) -> tuple[int, int]:
        """How many keys have a value, and how many are tombstones."""
        total = sum(len(keydir.packed) for keydir in self._keydirs)
        tombstones = sum(keydir.tombstones for keydir in self._keydirs)
        return total - tombstones, tombstones

    @property
    def disk_bytes(self) -> int:
        """The size of the log, lines on their way included."""
        return self._log.disk_bytes()

    def entry(self, partition: int, key: str) -> Entry | None:
        """Return the newest record of a key as an entry, durable or not."""
        packed = self._keydirs[partition].packed.get(key)
        return None if packed is None else unpack(packed)

    def supersedes(self, record: Record) -> bool | None:
        """Whether a record takes the place of its key's newest; None where the key is not held."""
        packed = self._keydirs[record.partition].packed.get(record.key)
        if packed is None:
            return None
        rank, held = record.accepted + record.version, rank_of(packed)
        return rank > held or (rank == held and is_copied(packed))

    def value(self, partition: int, key: str, entry: Entry) -> bytes:
        """Read an entry's JSON text, checked (the entry is no tombstone).

        An entry that was taken before a merge stays readable for ``tidy.GRACE_S``, and for as long
        as it is its key's newest. Raises DamageError, and StorageError where it cannot be read.
        """
        try:
            line = self._log.read(entry.segment, entry.offset, entry.length)
            if line is not None:
                return value_of(line, head_of(partition, key, entry))
        except (DamageError, LineError) as error:
            self._mender.found(partition, key, entry)
            if isinstance(error, DamageError):
                raise
            raise DamageError(segment_name(entry.segment), entry.offset, str(error)) from error
        newest = self.entry(partition, key)
        if newest is None or newest.rank != entry.rank or newest.segment == entry.segment:
            raise StorageError(f"version {entry.version} was replaced and is gone")
        return self.value(partition, key, newest)

    def append(self, record: Record) -> int:
        """Make ``record`` the newest of its key, in the index now and in the log later.

        A tombstone at or below what is forgotten is logged, and leaves the index at once.
        """
        line, log = encode_record(record), self._log
        partition, key, tombstone, length = record.partition, record.key, record.value is None, len(line)
        digest = entry_hash(key, record, log.identity.worker)
        bucket = bucket_of(key)
        with log.lock:
            segment, offset = log.append(line)
            segment.live += length
            keys = segment.keys
            if keys is not None and keys.setdefault(key, partition) != partition:
                segment.forget()
            packed = pack(record, segment.number, offset, length, digest, tombstone=tombstone)
            old = self._keydirs[partition].put(key, packed)
            if old is not None:
                number, _, length = place_of(old)
                log.segments[number].live -= length
                digest ^= digest_of(old)
            self._trees[partition].buckets[bucket] ^= digest
            if tombstone and record.version <= self._states.forgotten[partition]:
                self._forget(partition, [(key, packed)])
            return self.committer.appended_lsn

    def promised(self, partition: int) -> Ballot:
        """Return the highest ballot promised (NO_BALLOT at first)."""
        return self._states.promised[partition]

    def promise(self, partition: int, ballot: Ballot) -> int:
        """Promise a ballot. Raises ValueError for one below the highest promised."""
        promised = self._states.promised[partition]
        if ballot < promised:
            raise ValueError(f"partition {partition} has promised {promised}, above {ballot}")
        if ballot == promised:
            return self.appended_lsn
        with self._log.lock:
            lsn = self._log.append_state(encode_promise(partition, ballot))
            self._states.promised[partition] = ballot
            return lsn

    def floor(self, partition: int) -> Version:
        """Return the version at or below which a key that is not held stays absent."""
        return self._states.floor[partition]

    def forgotten(self, partition: int) -> Version:
        """Return the version at or below which tombstones are not held any more."""
        return self._states.forgotten[partition]

    def tombstones(self, partition: int) -> int:
        """Count the tombstones that a partition holds."""
        return self._keydirs[partition].tombstones

    def raise_floor(self, partition: int, floor: Version, forgotten: Version) -> int:
        """Raise the floor and what is forgotten under it; whichever is higher already stays."""
        if forgotten > floor:
            raise ValueError(f"partition {partition} cannot forget up to {forgotten} under {floor}")
        states = self._states
        if floor <= states.floor[partition] and forgotten <= states.forgotten[partition]:
            return self.appended_lsn
        with self._log.lock:
            states.raise_floor(partition, floor, forgotten)
            gone = states.forgotten[partition]
            lsn = self._log.append_state(encode_floor(partition, states.floor[partition], gone))
            graves = self._keydirs[partition].graves()
            self._forget(partition, [grave for grave in graves if unpack(grave[1]).version <= gone])
            return lsn

    def voting(self, partition: int) -> bool:
        """Whether this replica may promise, accept and confirm."""
        return self._states.voting[partition]

    @property
    def votes(self) -> int:
        """In how many partitions this replica votes."""
        return self._states.votes

    def set_voting(self, partition: int) -> int:
        """Let the replica vote: it has copied what the others hold."""
        if self._states.voting[partition]:
            return self.appended_lsn
        with self._log.lock:
            lsn = self._log.append_state(encode_voting(partition, voting=True))
            self._states.set_voting(partition, voting=True)
            return lsn

    def clear_voting(self, partition: int) -> int:
        """Give the right to vote up: something of the partition was lost."""
        if not self._states.voting[partition]:
            return self.appended_lsn
        with self._log.lock:
            lsn = self._log.append_state(encode_voting(partition, voting=False))
            self._states.set_voting(partition, voting=False)
            return lsn

    def tree(self, partition: int) -> HashTree:
        """Return the hash tree over the partition's entries; it follows every append."""
        return self._trees[partition]

    def keys(self, partition: int) -> Iterator[str]:
        """Yield the keys of a partition, tombstones included, in order of their UTF-8 bytes."""
        after = ""
        while page := self.keys_after(partition, after, KEYS_PAGE):
            yield from page
            after = page[-1]

    def keys_after(self, partition: int, after: str, limit: int) -> list[str]:
        """Return at most ``limit`` keys of a partition greater than ``after``, in that order."""
        with self._log.lock:
            return self._keydirs[partition].keys_after(after, limit)

    def scan(self, prefix: str, after: str, limit: int) -> list[tuple[int, str, Entry]]:
        """Return (partition, key, entry) of at most ``limit`` keys that have a value, over all partitions.

        They begin with ``prefix``, are greater than ``after``, and come in order of their UTF-8 bytes.
        """
        with self._log.lock:
            found = scan(self._keydirs, prefix, after, limit)
            return [(p, key, unpack(self._keydirs[p].packed[key])) for p, key in found]

    def _forget(self, partition: int, graves: list[tuple[str, bytes]]) -> None:
        """Drop tombstones from the index and the tree, but not from the log. The caller holds the lock."""
        buckets = self._trees[partition].buckets
        for key, packed in graves:
            buckets[bucket_of(key)] ^= digest_of(packed)
            number, _, length = place_of(packed)
            segment = self._log.segments[number]
            segment.live -= length
            segment.forgotten += length
            segment.forget()
        self._keydirs[partition].remove([key for key, _ in graves])
