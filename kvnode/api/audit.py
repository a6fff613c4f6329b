"""What is kept of every answer: counted and timed always, logged where somebody wants to know."""

from __future__ import annotations

from time import perf_counter

from kvnode.logs import get_logger
from kvnode.metrics import HTTP_REQUEST_SECONDS, HTTP_REQUESTS

LOGGED_PATH_CHARACTERS = 256
PROBED = "/readyz"
"""Answered with 503 as a matter of course, and asked all the time: not logged as a failure."""

_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"})

_log = get_logger()


class Audit:
    """Notes answers; those that took ``slow_s`` or longer are logged."""

    def __init__(self, slow_s: float) -> None:
        self._slow_s = slow_s

    def note(
        self, method: str, path: str, status: int, *, started_s: float, request_id: str, traced: bool
    ) -> None:
        """Count one answer, and log it if it is traced, slow, or a failure."""
        elapsed_s = perf_counter() - started_s
        name = method if method in _METHODS else "other"
        HTTP_REQUESTS.add(name, str(status))
        HTTP_REQUEST_SECONDS.add(elapsed_s, name)
        failed = status >= 500 and path != PROBED  # noqa: PLR2004
        if traced or elapsed_s >= self._slow_s or failed:
            write = _log.warning if status >= 500 else _log.info  # noqa: PLR2004
            write(
                "request_answered",
                request_id=request_id,
                method=method,
                path=path[:LOGGED_PATH_CHARACTERS],
                status=status,
                duration_ms=round(elapsed_s * 1000, 3),
            )
