"""Waiting for a condition with a deadline: the one place of the hosts' tests where time passes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_S = 0.1


def until(condition: Callable[[], object], deadline_s: float, what: str) -> None:
    """Return as soon as ``condition`` holds. Raises TimeoutError that names ``what`` after ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline_s} s in vain for {what}")
        time.sleep(STEP_S)
