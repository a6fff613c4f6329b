"""Whose disk this is."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Identity(msgspec.Struct, frozen=True):
    """What a data folder says of itself.

    ``incarnation`` is made when an empty folder is first opened; ``cluster_id`` is empty until the
    cluster has formed, or has taken the disk in. ``roster`` is the incarnation of each worker's
    disk as this one has noted it: the votes of any other disk of that worker do not count.
    """

    worker: int
    incarnation: str
    cluster_id: str = ""
    roster: dict[int, str] = {}


class IdentityStore(Protocol):
    """Where the identity is kept."""

    @property
    def identity(self) -> Identity:
        """The identity as last written."""

    def write_identity(self, identity: Identity) -> None:
        """Replace the identity, durably, before returning. Raises NoSpaceError: then it is as it was."""
