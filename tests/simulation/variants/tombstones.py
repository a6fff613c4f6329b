"""Broken on purpose: forgetting that something was deleted."""

from __future__ import annotations

import pytest

from kvnode.core.versions import NO_VERSION
from kvnode.storage.store import Store


def forget_without_a_floor(patch: pytest.MonkeyPatch) -> None:
    """Forget tombstones, and remember nothing that keeps late copies out."""
    patch.setattr(Store, "floor", lambda *_: NO_VERSION)
