"""The one error tree.

    KvnodeError
    ├── ConfigError         a configuration file is wrong: file, key, what was expected
    ├── StorageError        the data folder cannot be used
    │   ├── DamageError     bytes on disk are not what was written
    │   ├── LockedError     another process holds the data folder
    │   └── NoSpaceError    the disk has no space: trying again later may help
    ├── PeerError           a node cannot be talked to, or must not be
    │   ├── MessageError    what it sent is not a message of ours
    │   └── MismatchError   it belongs to another cluster, layout or release
    ├── RequestError        a client's request is refused before it reaches the cluster
    └── HistoryError        a recorded history cannot be read, or cannot be judged

Only ``api.problems`` knows HTTP status codes and only ``rpc.status`` knows gRPC ones.
"""

from __future__ import annotations


class KvnodeError(Exception):
    """The root: whatever kvnode raises on purpose."""


class ConfigError(KvnodeError):
    """A configuration that is refused at start.

    ``source`` is the file, ``key`` the dotted key (empty when the file as a whole is meant),
    ``expected`` what would have been right.
    """

    def __init__(self, source: str, key: str, expected: str) -> None:
        self.source = source
        self.key = key
        self.expected = expected
        place = f"{source}: {key}" if key else source
        super().__init__(f"{place}: {expected}")


class StorageError(KvnodeError):
    """The data folder cannot be opened, read or written."""


class DamageError(StorageError):
    """Bytes on disk fail their check. ``file``, ``offset`` (bytes) and ``reason`` say where and why."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        self.file = file
        self.offset = offset
        self.reason = reason
        super().__init__(f"{file} at byte {offset}: {reason}")


class LockedError(StorageError):
    """Another process holds the data folder's lock."""


class NoSpaceError(StorageError):
    """The data folder's disk is full where something must be written before work can begin."""


class PeerError(KvnodeError):
    """A peer cannot be reached, or does not speak as agreed."""


class MessageError(PeerError):
    """A peer sent bytes that are no message, or a message that says what none may say."""


class MismatchError(PeerError):
    """A peer of another cluster, layout, release or incarnation: it is refused, never adapted to."""


class RequestError(KvnodeError):
    """A request that is wrong in itself.

    ``kind`` is a short stable word (``invalid_json``, ``key_too_long``, …), ``detail`` says what
    was wrong and what was expected.
    """

    def __init__(self, kind: str, detail: str) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(detail)


class HistoryError(KvnodeError):
    """A line of a history is no operation, or contradicts another. ``line`` counts from 1 (0: no line)."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"line {line}: {reason}" if line else reason)
