"""Who a data folder belongs to: the file ``identity.json``.

A folder without one is blank: it gets a new incarnation, so that the votes of an earlier disk of
the same worker are told apart from its own. It is replaced as a whole, never edited.
"""

from __future__ import annotations

from uuid import uuid4

import msgspec

from kvnode.core.identity import Identity
from kvnode.errors import DamageError, StorageError
from kvnode.storage.disk import Disk
from kvnode.storage.lines import LineError, check, seal
from kvnode.storage.segment import is_log_file

IDENTITY_NAME = "identity.json"
_TEMPORARY = IDENTITY_NAME + ".tmp"
_FORMAT = 1
_ADVICE = "bring it back, or move the whole folder away; the worker is then rebuilt from its peers"


class _IdentityFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file's contents; the checksum covers what stands before it, as in the log."""

    format: int
    worker: int
    incarnation: str
    cluster_id: str
    roster: dict[int, str]
    crc: int


def own_identity(disk: Disk, worker: int) -> Identity:
    """Return the folder's identity, made now if the folder is blank.

    A log without its identity is not blank: its votes are out in the world under a name that is lost.
    Raises DamageError, StorageError.
    """
    identity = read_identity(disk)
    if identity is None:
        left = [name for name in disk.names() if is_log_file(name)]
        if left:
            raise StorageError(f"there is {left[0]} but no {IDENTITY_NAME}: {_ADVICE}")
        identity = new_identity(worker)
        write_identity(disk, identity)
    if identity.worker != worker:
        raise StorageError(f"the data folder belongs to worker {identity.worker}, not {worker}")
    return identity


def new_identity(worker: int) -> Identity:
    """Return the identity of a blank disk."""
    return Identity(worker, uuid4().hex)


def read_identity(disk: Disk) -> Identity | None:
    """Return the folder's identity, None if it is blank. Raises DamageError, StorageError."""
    if IDENTITY_NAME not in disk.names():
        return None
    file = disk.open(IDENTITY_NAME)
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    try:
        check(data)
        read = msgspec.json.decode(data, type=_IdentityFile)
    except (LineError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise DamageError(IDENTITY_NAME, 0, f"{error}: {_ADVICE}") from error
    if read.format != _FORMAT:
        raise StorageError(f"{IDENTITY_NAME}: format {read.format}; this release reads {_FORMAT}")
    return Identity(read.worker, read.incarnation, read.cluster_id, read.roster)


def write_identity(disk: Disk, identity: Identity) -> None:
    """Replace the folder's identity: durable, and whole at every moment."""
    body = msgspec.json.encode({"format": _FORMAT, **msgspec.to_builtins(identity)})
    if _TEMPORARY in disk.names():
        disk.remove(_TEMPORARY)
    file = disk.create(_TEMPORARY)
    try:
        file.write(0, seal(body[:-1]))
        file.sync()
    finally:
        file.close()
    disk.rename(_TEMPORARY, IDENTITY_NAME)
    disk.sync_folder()
