"""The versions of one key that clients were shown must lie on one chain: later shown is never older."""

from __future__ import annotations

from collections.abc import Sequence

from kvnode.verify.history import Asked, Op, Told
from kvnode.verify.register import version_numbers

Version = tuple[int, ...]


def broken_chain(ops: Sequence[Op]) -> tuple[str, list[Op]] | None:
    """Return why the versions shown cannot lie on one chain, with the two operations that show it.

    An operation that began after another had ended must not show an older version; a write that was
    acknowledged must show a newer one. Of the writes on condition of one version only one succeeds.
    """
    return _forked(ops) or _fallen(ops)


def _forked(ops: Sequence[Op]) -> tuple[str, list[Op]] | None:
    successors: dict[str, Op] = {}
    for op in ops:
        if (
            op.told is Told.OK
            and op.op is not Asked.GET
            and op.if_match is not None
            and len(op.if_match) == 1
        ):
            before = op.if_match[0]
            other = successors.setdefault(before, op)
            if other is not op:
                return f"two writes on condition of version {before} succeeded", [other, op]
            old, new = version_numbers(before), _version(op)
            if old is not None and new is not None and new <= old:
                return f"version {op.version} replaced {before}", [op]
    return None


def _fallen(ops: Sequence[Op]) -> tuple[str, list[Op]] | None:
    shown = [(op, version) for op in ops if (version := _version(op)) is not None]
    by_end = sorted(shown, key=lambda pair: pair[0].end_us or 0)
    newest: tuple[Op, Version] | None = None
    ended = 0
    for op, version in shown:
        while ended < len(by_end) and (by_end[ended][0].end_us or 0) < op.start_us:
            if newest is None or by_end[ended][1] > newest[1]:
                newest = by_end[ended]
            ended += 1
        if newest is None:
            continue
        writes = op.told is Told.OK and op.op is not Asked.GET
        if version < newest[1] or (writes and version == newest[1]):
            return f"version {op.version} was shown after {newest[0].version}", [newest[0], op]
    return None


def _version(op: Op) -> Version | None:
    """Return the version of what was read or written; None for one that has no order."""
    if op.version is None or op.told is Told.UNKNOWN or op.end_us is None:
        return None
    return version_numbers(op.version)
