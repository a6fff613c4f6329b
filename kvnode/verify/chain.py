"""The versions of one key that clients were shown must lie on one chain: later shown is never older."""

from __future__ import annotations

from collections.abc import Sequence

from kvnode.verify.history import Asked, Op, Told

Version = tuple[int, ...]


def broken_chain(ops: Sequence[Op]) -> tuple[str, list[Op]] | None:
    """Return why the versions shown cannot lie on one chain, with the two operations that show it.

    An operation that began after another had ended must not show an older version; a write that was
    acknowledged must show a newer one.
    """
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
    parts = op.version.split(".")
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else None
