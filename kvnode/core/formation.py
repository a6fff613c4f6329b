"""Whose disks make up the cluster: forming a fresh one, and taking a new or wiped disk in.

A fresh cluster forms when all workers are up and none holds anything: the lowest-numbered one makes
an id and a roster of every disk's incarnation, and each blank disk that stands in the roster joins
as a full voter. A blank disk that the roster does not name is new: it joins without a vote, and
copies what all other replicas hold before it gets one. It takes over no roster, since whoever tells
it of the cluster may know disks that have been replaced: it notes those that it copies from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.identity import Identity, IdentityStore
from kvnode.core.messages import Form, FormReply, Hello, Reply
from kvnode.core.peers import Peers
from kvnode.errors import MismatchError, NoSpaceError


class Formation:
    """The identity of this worker's disk, and what it knows of the others'."""

    def __init__(
        self,
        ctx: Context,
        peers: Peers,
        calls: Calls,
        store: IdentityStore,
        new_cluster_id: Callable[[], str],
    ) -> None:
        self._ctx = ctx
        self._peers = peers
        self._calls = calls
        self._store = store
        self._new_cluster_id = new_cluster_id
        self._asked_ms: dict[int, int] = {}
        self._founding = False
        self._replaced: set[str] = set()

    @property
    def identity(self) -> Identity:
        """What this disk is."""
        return self._store.identity

    def check(self, theirs: Hello) -> None:
        """Refuse a peer of another cluster, or one with votes that its worker's present disk should have.

        A disk that is not the one noted here has been replaced, unless it votes in no partition that
        is held here: then it is a newer one, which got its votes from others and has not asked us yet,
        or it is blank. Both may come in: they get a vote of ours only by copying what we hold, after
        we have noted them.
        """
        mine = self.identity
        if theirs.worker == mine.worker:
            raise MismatchError(f"another process says that it is worker {mine.worker}")
        if mine.cluster_id and theirs.cluster_id and mine.cluster_id != theirs.cluster_id:
            raise MismatchError(
                f"worker {theirs.worker}'s disk belongs to cluster {theirs.cluster_id}, "
                f"ours to {mine.cluster_id}"
            )
        noted = mine.roster.get(theirs.worker, "")
        votes = self._ctx.ring.held_by(theirs.worker) if theirs.voting else theirs.votes_in
        if noted not in ("", theirs.incarnation) and not self._ctx.held.isdisjoint(votes):
            raise MismatchError(
                f"worker {theirs.worker}'s disk is incarnation {theirs.incarnation}, "
                f"but {noted} is the one that votes"
            )
        self._replaced.discard(theirs.incarnation)

    def tick(self) -> None:
        """Form a cluster if this is the moment, and tell blank peers of the one we are in."""
        if self.identity.cluster_id:
            for peer in self._peers:
                if peer.hello is not None and not peer.hello.cluster_id:
                    self._tell(peer.hello)
        elif all(self._ctx.worker < peer.worker for peer in self._peers):
            self._form_if_all_blank()

    def _form_if_all_blank(self) -> None:
        roster = {self._ctx.worker: self.identity.incarnation}
        for peer in self._peers:
            if not peer.live or peer.hello is None or peer.hello.cluster_id:
                return
            roster[peer.worker] = peer.hello.incarnation
        if not self._founding:
            self._founding = True
            self._join(Form(0, self._new_cluster_id(), roster))

    def _tell(self, hello: Hello) -> None:
        now = self._ctx.now_ms
        if now - self._asked_ms.get(hello.worker, -1_000_000) < self._ctx.timing.ask_again_ms:
            return
        self._asked_ms[hello.worker] = now
        form = Form(self._ctx.number(), self.identity.cluster_id, self.identity.roster)
        self._calls.ask(hello.worker, form, self._told)

    def _told(self, worker: int, reply: Reply | None) -> None:
        if isinstance(reply, FormReply) and reply.joined:
            self._ctx.outbox.close_link(worker, "it has joined the cluster: greet it anew")

    def formed(self, token: int, message: Form) -> None:
        """Join the cluster that a peer belongs to, with a vote only if its roster names our disk."""
        if not self.identity.cluster_id:
            self._join(message)

        def durable() -> None:
            joined = self.identity.cluster_id == message.cluster_id
            self._ctx.outbox.respond(token, FormReply(message.number, joined))

        self._ctx.durability.after_all(durable)

    def _join(self, message: Form) -> None:
        """Take the votes, and the cluster's id when they are durable: a crash between leaves a blank disk."""
        founder = message.roster.get(self.identity.worker) == self.identity.incarnation
        if founder:
            for partition in self._ctx.held:
                if not self._ctx.journal.voting(partition):
                    self._ctx.journal.set_voting(partition)
        self._ctx.durability.after_all(partial(self._become_member, message, founder=founder))

    def _become_member(self, message: Form, *, founder: bool) -> None:
        identity = self.identity
        if identity.cluster_id:
            return
        roster = {**(message.roster if founder else {}), identity.worker: identity.incarnation}
        joined = msgspec.structs.replace(identity, cluster_id=message.cluster_id, roster=roster)
        try:
            self._store.write_identity(joined)
        except NoSpaceError:
            self._founding = False
            return
        self._ctx.outbox.note("cluster_joined", cluster_id=message.cluster_id, votes=founder)

    def note_incarnation(self, worker: int, incarnation: str) -> bool:
        """Note, durably, which disk of a worker is the present one; True if that is news.

        Raises NoSpaceError: then nothing was noted.
        """
        noted = self.identity.roster.get(worker, "")
        if noted == incarnation:
            return False
        roster = {**self.identity.roster, worker: incarnation}
        self._store.write_identity(msgspec.structs.replace(self.identity, roster=roster))
        self._replaced.add(noted)
        self._ctx.outbox.note("incarnation_noted", peer=worker, incarnation=incarnation)
        return True

    def replaced(self, sender: Hello) -> bool:
        """Whether the disk behind an open link has been replaced since that link was opened."""
        return sender.incarnation in self._replaced
