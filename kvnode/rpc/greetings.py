"""Who may speak to this process: the metadata of every call, and the peers that have greeted us."""

from __future__ import annotations

from collections.abc import Mapping

from kvnode.core.messages import Hello
from kvnode.errors import MismatchError

Metadata = tuple[tuple[str, str], ...]

_FROM_WORKER = "kv-from-worker"
_FROM_PROCESS = "kv-from-process"
_TO_PROCESS = "kv-to-process"


def metadata(ours: Hello, theirs: Hello) -> Metadata:
    """Return what goes with each call of our process to theirs."""
    return (
        (_FROM_WORKER, str(ours.worker)),
        (_FROM_PROCESS, ours.process),
        (_TO_PROCESS, theirs.process),
    )


class Greetings:
    """The newest greeting of each worker. A worker's earlier processes are no longer listened to."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._newest: dict[str, Hello] = {}

    def note(self, hello: Hello) -> bool:
        """Remember a greeting; True if it is of a process not heard before."""
        known = self._newest.get(str(hello.worker))
        self._newest[str(hello.worker)] = hello
        return known is None or known.process != hello.process

    def sender(self, given: Mapping[str, str | bytes]) -> Hello:
        """Return who calls, by the metadata of its call. Raises MismatchError."""
        meant_for = given.get(_TO_PROCESS)
        if meant_for != self._process:
            raise MismatchError(f"meant for process {meant_for!r}, this is {self._process!r}")
        worker, process = str(given.get(_FROM_WORKER)), given.get(_FROM_PROCESS)
        hello = self._newest.get(worker)
        if hello is None or hello.process != process:
            raise MismatchError(f"process {process!r} of worker {worker} has not greeted this one")
        return hello

    def is_newest(self, hello: Hello) -> bool:
        """Whether no later process of that worker has greeted us."""
        known = self._newest.get(str(hello.worker))
        return known is not None and known.process == hello.process
