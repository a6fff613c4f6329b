"""Losing power in the middle of what a disk does, at any of its operations."""

from __future__ import annotations

CHANGES = frozenset({"write", "sync", "truncate", "create", "rename", "remove", "sync_folder"})


class PowerCutError(BaseException):
    """The power is gone: like a real cut, it is no error that anybody could handle."""


class PowerSwitch:
    """Cuts the power at one of the next operations that change a disk."""

    def __init__(self) -> None:
        self._left = -1

    def arm(self, operations: int) -> None:
        """Let so many operations pass, and cut the power at the one after them."""
        self._left = operations

    def disarm(self) -> None:
        """Cut nothing."""
        self._left = -1

    def operation(self, operation: str, _name: str) -> None:
        """Be the disk's fault hook: called before each operation. Raises PowerCutError."""
        if self._left < 0 or operation not in CHANGES:
            return
        if not self._left:
            raise PowerCutError(operation)
        self._left -= 1
