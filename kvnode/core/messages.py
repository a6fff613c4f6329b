"""What workers say to each other. Every request is answered by exactly one reply of the same number.

Structs that are ``array_like`` travel in bulk, as arrays of their fields in order: new fields go to
the end and have a default.

Three purposes have a stream per ordered pair of workers with one message in flight (Accept,
Confirm, Execute); the rest are single calls. The transport adds who sent a message; the cluster's
identity, layout and epoch are checked once, when a link opens (see ``Hello``).
"""

from __future__ import annotations

import msgspec

from kvnode.core.operations import Operation, Outcome
from kvnode.core.records import Record
from kvnode.core.versions import NO_VERSION, Ballot, Version


class Hello(msgspec.Struct, frozen=True):
    """What both ends of a link tell before anything else.

    ``process`` is made anew at each start: messages meant for an earlier process are dropped.
    ``incarnation`` names the data folder; ``cluster_id`` is empty before the cluster has formed.
    ``layout`` is the digest of what places data. ``voting`` is false while a disk that is new, wiped
    or damaged is being rebuilt; ``votes_in`` are then the partitions in which it votes all the same.
    ``release`` is the software's version, ``protocol`` the oldest and newest wire version that the
    sender speaks.
    """

    worker: int
    process: str
    incarnation: str
    cluster_id: str
    layout: str
    epoch: int
    voting: bool
    release: str
    protocol: tuple[int, int]
    votes_in: tuple[int, ...] = ()


class AcceptItem(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One record to be accepted. Its ballot is the record's ``accepted``."""

    record: Record
    request_id: str | None = None


class AcceptBatch(msgspec.Struct, frozen=True, gc=False):
    """Accept(p, b, records), for any mix of partitions."""

    number: int
    items: list[AcceptItem]


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A partition's part of a message was refused: for a higher promise, for want of a vote or of space.

    ``promised`` is the replica's promise; ``voting`` is false where the replica is being rebuilt,
    ``full`` is true where its disk is full.
    """

    partition: int
    promised: Ballot
    voting: bool = True
    full: bool = False


class AcceptReply(msgspec.Struct, frozen=True, gc=False):
    """All items are durable here, except those at ``refused``: (index of the item, why)."""

    number: int
    refused: list[tuple[int, Refusal]]


class ConfirmBatch(msgspec.Struct, frozen=True, gc=False):
    """Has any of these ballots been overtaken? Also the heartbeat, and then often without ballots.

    ``draining``: the sender is about to stop and should be sent nothing new. ``ready``: it is
    caught up. ``rebuilding``: there are partitions in which it has no vote. ``full``: its disk is.
    ``sees``: the workers that it holds for live. ``agreed``: partitions that the sender leads and
    knows the receiver to hold whole.
    """

    number: int
    ballots: list[tuple[int, Ballot]]
    draining: bool = False
    ready: bool = False
    agreed: list[int] = []
    rebuilding: bool = False
    full: bool = False
    sees: tuple[int, ...] = ()


class ConfirmReply(msgspec.Struct, frozen=True, gc=False):
    """No higher ballot was promised, except where ``refused``.

    ``quiet``: the replier knows that the other side drains, has nothing unanswered there and will
    send nothing new. The other flags speak of the replier, as in ConfirmBatch.
    """

    number: int
    refused: list[Refusal]
    draining: bool = False
    ready: bool = False
    quiet: bool = False
    rebuilding: bool = False
    full: bool = False
    sees: tuple[int, ...] = ()


class Attempt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One try at one operation: executed or refused at most once by the process it is meant for.

    ``deadline_ms``: how long the coordinator will still wait. ``relay``: the receiver may pass it
    on to the leader (once: it does so with ``relay`` false). ``promised`` is what protocol 2 says, and is
    ignored. ``vouched``: the sender has another replica's word; what wants confirming is answered at once.
    """

    number: int
    operation: Operation
    deadline_ms: int
    relay: bool = False
    promised: Ballot | None = None
    vouched: bool = False


class ExecuteBatch(msgspec.Struct, frozen=True, gc=False):
    """Operations for the leader of their partitions; ``asks``: partitions whose promise is asked for."""

    number: int
    attempts: list[Attempt]
    asks: list[int] = []


class ExecuteReply(msgspec.Struct, frozen=True, gc=False):
    """Outcomes of attempts by number, of this batch or of earlier ones.

    An attempt that is still under way is answered in a later reply, so that one slow key holds up
    nothing else. The first reply to a batch brings ``promises``: what the replier had promised, at some
    moment after the batch came, for those of the partitions asked for in which it votes.
    """

    number: int
    outcomes: list[tuple[int, Outcome]]
    promises: list[tuple[int, Ballot]] = []


class Prepare(msgspec.Struct, frozen=True, gc=False):
    """Prepare(p, b) for many partitions at once."""

    number: int
    ballots: list[tuple[int, Ballot]]


class Promise(msgspec.Struct, frozen=True, gc=False):
    """One partition's promise: the digest (root) of its hash tree and its floor, both durable."""

    partition: int
    digest: int
    floor: Version


class PrepareReply(msgspec.Struct, frozen=True, gc=False):
    """What was promised and what was not."""

    number: int
    promises: list[Promise]
    refused: list[Refusal]


class ReadStates(msgspec.Struct, frozen=True, gc=False):
    """Ask a replica that promised ``ballot`` what it holds for these keys."""

    number: int
    partition: int
    ballot: Ballot
    keys: list[str]


class StatesReply(msgspec.Struct, frozen=True, gc=False):
    """The durable record of each key asked for, in order; None where there is none."""

    number: int
    partition: int
    records: list[Record | None]
    floor: Version
    refused: Refusal | None = None


class Sync(msgspec.Struct, frozen=True, gc=False):
    """Compare a partition with a replica (by its leader), or copy it (by a rebuilt replica).

    Comparing: ``ballot`` is the leader's and ``buckets`` its 64 hashes; the replica lists what it
    holds in the buckets that differ. Copying: ``ballot`` is NO_BALLOT, ``buckets`` empty, and
    ``incarnation`` names the disk being rebuilt, which the replica notes, durably, and whose earlier
    acknowledgements it discounts, before it answers with whole records. ``after`` pages through the keys.
    """

    number: int
    partition: int
    ballot: Ballot
    buckets: list[int]
    after: str
    incarnation: str = ""


class Held(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a replica holds for one key, without the value."""

    key: str
    accepted: Ballot
    version: Version
    copied: bool
    tombstone: bool = False


class SyncReply(msgspec.Struct, frozen=True, gc=False):
    """One page: ``held`` when comparing, ``records`` when copying. ``more``: ask again after the last key.

    ``differing``: the numbers of the buckets that differ (comparing only).
    """

    number: int
    partition: int
    promised: Ballot
    floor: Version
    differing: list[int]
    held: list[Held]
    records: list[Record]
    more: bool
    refused: Refusal | None = None
    forgotten: Version = NO_VERSION


class SetFloor(msgspec.Struct, frozen=True, gc=False):
    """Raise a partition's floor, under its leader's ballot, and forget the tombstones up to ``forgotten``.

    The leader knows that every record up to ``floor`` is durable on all replicas, and so is the floor
    itself before ``forgotten`` reaches it.
    """

    number: int
    partition: int
    ballot: Ballot
    floor: Version
    forgotten: Version


class FloorReply(msgspec.Struct, frozen=True, gc=False):
    """What the replica's floor is now, durably, and what it has forgotten."""

    number: int
    partition: int
    floor: Version
    forgotten: Version
    refused: Refusal | None = None


class HandOver(msgspec.Struct, frozen=True, gc=False):
    """The sender has stopped leading these partitions in good order: the receiver should lead them now."""

    number: int
    partitions: list[int]


class HandOverReply(msgspec.Struct, frozen=True, gc=False):
    """The request to lead was heard."""

    number: int


class Form(msgspec.Struct, frozen=True, gc=False):
    """A fresh cluster forms: its id, and the incarnation of every worker's blank disk."""

    number: int
    cluster_id: str
    roster: dict[int, str]


class FormReply(msgspec.Struct, frozen=True, gc=False):
    """Whether the receiver's disk now belongs to that cluster, durably."""

    number: int
    joined: bool


Request = AcceptBatch | ConfirmBatch | ExecuteBatch | Prepare | ReadStates | Sync | SetFloor | HandOver | Form
Reply = (
    AcceptReply
    | ConfirmReply
    | ExecuteReply
    | PrepareReply
    | StatesReply
    | SyncReply
    | FloorReply
    | HandOverReply
    | FormReply
)
Message = Request | Reply
