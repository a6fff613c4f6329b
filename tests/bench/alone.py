"""What a request costs in kvnode's own code alone: ``python -m tests.bench.alone put 64``.

A cluster of four in one process and one thread, with its REST lane, its machines, its messages as bytes
and its stores, but no socket, no event loop and disks in memory: what a real one takes beyond
that is the kernel's, the event loop's, and what switching between processes costs. It is the installed kvnode
that is measured, as it runs as a service; with ``--sources`` the code here, interpreted.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from kvnode.api.audit import Audit
from kvnode.api.express import Express
from kvnode.api.gate import Gate
from kvnode.config import Limits
from kvnode.core.effects import Answer, Proceed, Respond, Send
from kvnode.core.messages import Hello, Reply
from kvnode.core.operations import Operation, Outcome
from kvnode.core.ring import Member, Ring
from kvnode.core.worker import WorkerMachine
from kvnode.replication.host import EPOCH, PROTOCOL
from kvnode.rpc.layout import Layout
from kvnode.rpc.methods import CALLS, STREAMS, Method
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.store import Store
from tests.support.installed import WITH_TESTS

WORKERS = (1, 2, 3, 4)
PARTITIONS = 256
KEYS = 10_000
TICK_MS = 20
A_TICK = 32
"""Operations for which so much time passes, or one burst."""

FORMING_MS = 8000
FOLLOWING = 1000
"""Bursts after which leadership has followed, and the keys are there."""

HEAD = b"%b /kv/bench.%09d HTTP/1.1\r\nHost: 127.0.0.1:5001\r\nContent-Length: %d\r\n\r\n%b"
BODY = b'{"value":"%b"}' % (b"x" * 100)


class Worker:
    """One worker: its machine with what a host does for it, and its lane for clients."""

    def __init__(self, cluster: Alone, number: int) -> None:
        self.number = number
        self._cluster = cluster
        self.store = Store.open(
            MemoryDisk(),
            worker=number,
            partitions=PARTITIONS,
            segment_bytes=Limits().segment_bytes,
            on_durable=lambda _lsn: None,
            on_failure=cluster.fail,
        )
        self.machine = WorkerMachine(
            number,
            list(WORKERS),
            cluster.ring,
            self.store,
            random=random.random,
            new_cluster_id=lambda: uuid.uuid4().hex,
        )
        gate = Gate(10_000, 1 << 30)
        self.lane = Express(self, number, Limits(), gate, Audit(100.0), 0.0)  # type: ignore[arg-type]
        self._done: dict[int, Callable[[Outcome], None]] = {}
        self._responds: dict[int, Callable[[Reply], None]] = {}
        self._later: list[Callable[[], None]] = []
        self._token = 0

    def hello(self) -> Hello:
        """Return its greeting as of now."""
        disk = self.store.identity
        named = (self.number, f"process-{self.number}", disk.incarnation, disk.cluster_id)
        return Hello(*named, "layout", EPOCH, voting=True, release="", protocol=PROTOCOL)

    def begin(self, operation: Operation, timeout_s: float, done: Callable[[Outcome], None]) -> None:
        """Carry out a client's operation."""
        self._token += 1
        self._done[self._token] = done
        self.machine.execute(operation, int(timeout_s * 1000), self._token)

    def partition(self, key: str) -> int:
        """Return the partition of a key."""
        return self._cluster.ring.partition(key)

    def receive(self, sender: Hello, request: Any, respond: Callable[[Reply], None]) -> None:  # noqa: ANN401
        """Take a peer's request."""
        self._token += 1
        self._responds[self._token] = respond
        self.machine.receive(sender, request, self._token)
        self.flush()

    def flush(self) -> None:
        """Carry out what the machine wants done."""
        self.machine.flush()
        for effect in self.machine.effects():
            if isinstance(effect, Send):
                self._cluster.send(self.number, effect.to, effect.request)
            elif isinstance(effect, Answer):
                self._done.pop(effect.token)(effect.outcome)
            elif isinstance(effect, Respond):
                take = self._responds.pop if effect.last else self._responds.__getitem__
                take(effect.token)(effect.reply)
            elif isinstance(effect, Proceed):
                self._later.append(effect.call)

    def sync(self) -> None:
        """Make durable what was appended, tell the machine, and do what it has put off."""
        while self.store.durable_lsn < self.store.appended_lsn:
            self.store.committer.step()
        self.machine.durable()
        self.flush()
        while self._later:
            self._later.pop(0)()
            self.flush()


class Alone:
    """The cluster. ``messages`` counts what was sent, replies included."""

    def __init__(self) -> None:
        members = [Member(number, f"host-{number}") for number in WORKERS]
        self.ring = Ring.build(members, partitions=PARTITIONS, vnodes=64, replicas=3)
        self.messages = 0
        self._layout = Layout(WORKERS, PARTITIONS, self.ring.partition)
        self._now_ms = 0
        self._answered = 0
        self._moving: list[Callable[[], None]] = []
        self._workers = {number: Worker(self, number) for number in WORKERS}
        self._hellos = {number: worker.hello() for number, worker in self._workers.items()}
        self._link()
        while self._now_ms < FORMING_MS or any(w.machine.not_ready() for w in self._workers.values()):
            self.pass_time()
            if self._hellos != (hellos := {number: w.hello() for number, w in self._workers.items()}):
                self._hellos = hellos
                self._link()

    def fail(self, error: BaseException) -> None:
        """Stop at once."""
        raise error

    def send(self, sender: int, to: int, request: Any) -> None:  # noqa: ANN401
        """Carry a request, as bytes, in the next turn."""
        method = STREAMS.get(type(request)) or CALLS[type(request)]
        self._moving.append(partial(self._deliver, method, sender, to, method.encode_request(request)))

    def burst(self, requests: list[bytes], entries: int) -> None:
        """Have clients send requests, spread over the first workers, and wait for all answers."""
        expected, each = self._answered + len(requests), len(requests) // entries
        for number in WORKERS[:entries]:
            for data in requests[(number - 1) * each : number * each]:
                if not self._workers[number].lane.take(data, self._answer):
                    raise ValueError(f"no plain request: {data!r}")
            self._workers[number].flush()
        self._turn()
        while self._answered < expected:
            self.pass_time()

    def pass_time(self) -> None:
        """Let some time pass."""
        self._now_ms += TICK_MS
        for worker in self._workers.values():
            worker.machine.ctx.now_ms = self._now_ms
            worker.machine.tick()
            worker.flush()
        self._turn()

    def _link(self) -> None:
        for worker in self._workers.values():
            for peer, hello in self._hellos.items():
                if peer != worker.number:
                    worker.machine.link_down(peer)
                    worker.machine.link_up(hello)

    def _turn(self) -> None:
        """Deliver and sync until nothing moves."""
        moved = True
        while moved:
            moving, self._moving = self._moving, []
            for deliver in moving:
                deliver()
            for worker in self._workers.values():
                worker.sync()
            self.messages += len(moving)
            moved = bool(self._moving)

    def _deliver(self, method: Method[Any, Any], sender: int, to: int, data: bytes) -> None:
        def respond(reply: Reply) -> None:
            self._moving.append(partial(self._reply, method, sender, to, method.encode_reply(reply)))

        request = method.decode_request(data)
        self._layout.check(sender, request)
        self._workers[to].receive(self._hellos[sender], request, respond)

    def _reply(self, method: Method[Any, Any], asker: int, worker: int, data: bytes) -> None:
        reply = method.decode_reply(data)
        self._layout.check(worker, reply)
        self._workers[asker].machine.reply(worker, reply)
        self._workers[asker].flush()

    def _answer(self, data: bytes, _close: bool) -> None:  # noqa: FBT001 - a callback
        if not data.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"an answer that is none: {data!r}")
        self._answered += 1


def requests(operation: str, count: int) -> list[bytes]:
    """Return requests for keys at random."""
    method, body = (b"GET", b"") if operation == "get" else (b"PUT", BODY)
    return [HEAD % (method, random.randrange(KEYS), len(body), body) for _ in range(count)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.alone", description=__doc__)
    parser.add_argument("operation", choices=["put", "get"])
    parser.add_argument("connections", type=int)
    parser.add_argument("--entries", type=int, default=1)
    parser.add_argument("--operations", type=int, default=20_000, help="in each of five runs")
    parser.add_argument("--sources", action="store_true", help="measure what is in this folder")
    options = parser.parse_args()
    if not options.sources:
        again = f"{WITH_TESTS}; from tests.bench.alone import main; main()"
        os.execv(sys.executable, [sys.executable, "-P", "-c", again, *sys.argv[1:], "--sources"])  # noqa: S606
    cluster = Alone()
    for first in range(0, KEYS, 64):
        keys = range(first, min(first + 64, KEYS))
        cluster.burst([HEAD % (b"PUT", key, len(BODY), BODY) for key in keys], 1)
    for _ in range(FOLLOWING):
        cluster.burst(requests("put", 64), options.entries)
        cluster.pass_time()
    bursts = options.operations // options.connections
    took_us, messages = [], 0
    for _ in range(5):
        batches = [requests(options.operation, options.connections) for _ in range(bursts)]
        cluster.messages = 0
        began_s = time.process_time()
        for number, batch in enumerate(batches):
            cluster.burst(batch, options.entries)
            if number % max(1, A_TICK // options.connections) == 0:
                cluster.pass_time()
        took_us.append((time.process_time() - began_s) / (bursts * options.connections) * 1e6)
        messages = cluster.messages
    each = ", ".join(f"{us:.0f}" for us in took_us)
    sys.stdout.write(
        f"{statistics.median(took_us):.0f} us of processor time an operation (runs: {each}), "
        f"{messages / (bursts * options.connections):.2f} messages\n"
    )


if __name__ == "__main__":
    main()
