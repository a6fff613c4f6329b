"""The count of lost writes is itself tried on histories known good and known bad."""

from __future__ import annotations

import pytest

from kvnode.verify.history import Asked, Op, Told
from tests.hosts.losses import lost


def op(asked: Asked, told: Told, version: str | None = None) -> Op:
    """Return an operation on the one key."""
    value = "1" if asked is Asked.PUT or (asked is Asked.GET and told is Told.OK) else None
    return Op(client=0, op=asked, key="k", value=value, told=told, version=version, start_us=0, end_us=1)


PUT = op(Asked.PUT, Told.OK, "2.1.9")
DELETE = op(Asked.DELETE, Told.OK, "2.1.10")
PERHAPS_DELETED = op(Asked.DELETE, Told.UNKNOWN)
ABSENT = op(Asked.GET, Told.ABSENT)


@pytest.mark.parametrize("version", ["2.1.9", "2.1.10", "10.1.1"])
def test_the_newest_write_or_a_newer_one_is_no_loss(version: str) -> None:
    """Versions are compared as numbers."""
    assert not lost([PUT], [op(Asked.GET, Told.OK, version)])


def test_an_older_version_is_a_loss() -> None:
    """What is read must not be older than what was acknowledged, by whichever reader."""
    reads = [op(Asked.GET, Told.OK, "2.1.9"), op(Asked.GET, Told.OK, "2.1.8")]
    assert lost([PUT], reads)


def test_an_absent_key_must_have_been_deleted() -> None:
    """By the newest acknowledged write, or by a delete of unknown outcome."""
    assert lost([PUT], [ABSENT])
    assert not lost([PUT, DELETE], [ABSENT])
    assert not lost([PUT, PERHAPS_DELETED], [ABSENT])


def test_a_key_that_nobody_could_read_is_a_loss() -> None:
    """A failed read tells nothing, and nothing told is no proof."""
    assert lost([PUT], [op(Asked.GET, Told.NOT_DONE)])
    assert not lost([op(Asked.PUT, Told.NOT_DONE)], [])
