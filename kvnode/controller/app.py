"""The controller's own part of the composition: view, log window, feed, REST, proxy, dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from kvnode import metrics
from kvnode.config import ControllerConfig, split_address
from kvnode.controller.assets import Assets
from kvnode.controller.feed import Feed
from kvnode.controller.gauges import ClusterCollector
from kvnode.controller.log_window import LogWindow
from kvnode.controller.proxy import Proxy
from kvnode.controller.rest import KeyLister, Routes
from kvnode.controller.server import RestServer, create_app
from kvnode.controller.status import ClusterStatus
from kvnode.controller.view import ClusterView
from kvnode.core.messages import Hello
from kvnode.core.status import Report
from kvnode.logs import LogBuffer, get_logger

TICK_S: Final = 0.25
GRACE_S: Final = 5.0
ENVELOPE_BYTES: Final = 1 << 20
"""What may surround a value in a request's body; workers judge it exactly."""

NODE: Final = "controller"
MAX_OWN_LINES: Final = 1000

log = get_logger()


class Controller:
    """Everything of the controller but gRPC, which ``node.py`` puts around it.

    - it is the sink of ``ControlServer``: ``check(hello)`` raises MismatchError for a worker of
      another layout, ``report(hello, report)`` and ``gone(worker, reason)`` feed the view; all are
      called on the event loop;
    - ``lister`` asks workers for keys (``InspectionClient``);
    - ``logs`` is where its own log lines come from (None: they are not shown).

    ``start`` binds REST and raises PeerError naming a taken port; ``stop`` drains. Both are called
    once, on the loop that all else runs on.
    """

    def __init__(
        self,
        config: ControllerConfig,
        lister: KeyLister,
        logs: LogBuffer | None = None,
        *,
        release: str,
        dashboard: Traversable | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._own_logs = logs
        self._ticker: asyncio.Task[None] | None = None
        self._collector = ClusterCollector(lambda: self.status(ring=False))
        self.view = ClusterView(config.cluster, config.cluster.ring(), release=release)
        self.logs = LogWindow()
        self.lister = lister
        self.proxy = Proxy(self.view, config.limits)
        self.assets = Assets(dashboard or files("kvnode.controller") / "dashboard")
        self._feed = Feed(lambda ring: self.status(ring=ring), lambda: self.view.revision, self.logs)
        _, port = split_address(config.cluster.controller.rest)
        app = create_app(f"kvnode-controller-{id(self):x}", config.limits.value_bytes + ENVELOPE_BYTES)
        self._feed.attach(app)
        Routes(self).add_to(app)
        self._server = RestServer(app, config.controller.bind, port, config.limits)

    @property
    def port(self) -> int:
        """The port that REST is served on."""
        return self._server.port

    async def start(self) -> None:
        """Bind REST and serve. Raises PeerError."""
        await self.proxy.start()
        try:
            await self._server.start()
        except BaseException:
            await self.proxy.stop()
            raise
        metrics.REGISTRY.register(self._collector)
        self._feed.start()
        self._ticker = asyncio.create_task(self._tick(), name="controller-tick")
        log.info("controller_started", port=self.port, dashboard=self.assets.built)

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Finish what is in flight (for at most ``grace_s``), then close everything."""
        drained = await self._server.drain(grace_s)
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            metrics.REGISTRY.unregister(self._collector)
        await self._feed.stop()
        await self._server.stop()
        await self.proxy.stop()
        log.info("controller_stopped", drained=drained)

    def check(self, hello: Hello) -> None:
        """Refuse, with MismatchError, a worker that is not of this cluster."""
        self.view.check(hello)

    def report(self, hello: Hello, report: Report) -> None:
        """Take in what a worker shipped. Raises MismatchError."""
        if self.view.report(hello, report, self._clock()):
            log.info("worker_online", worker=hello.worker, release=hello.release, process=hello.process)
        self._keep(f"worker-{hello.worker}", report.log_lines)
        for event in report.key_events:
            self._feed.key_event(hello.worker, event)

    def gone(self, worker: int, reason: str) -> None:
        """Note that a worker's stream broke."""
        if self.view.gone(worker, reason):
            log.warning("worker_offline", worker=worker, reason=reason)

    def status(self, *, ring: bool) -> ClusterStatus:
        """Return the view as of now."""
        dropped = self._own_logs.dropped if self._own_logs else 0
        return self.view.status(self._clock(), log_lines=len(self.logs), own_dropped=dropped, ring=ring)

    def metrics(self) -> bytes:
        """Return Prometheus text."""
        metrics.CONTROLLER_WORKERS_ONLINE.set(self.view.workers_online)
        return metrics.render()

    async def _tick(self) -> None:
        """Notice silence, and take in the controller's own log lines."""
        while True:
            for worker in self.view.tick(self._clock()):
                log.warning("worker_offline", worker=worker, reason="silent")
            self._take_own_logs()
            await asyncio.sleep(TICK_S)

    def _take_own_logs(self) -> None:
        if self._own_logs is not None:
            self._keep(NODE, self._own_logs.drain(MAX_OWN_LINES))

    def _keep(self, node: str, lines: list[bytes]) -> None:
        metrics.CONTROLLER_LOG_LINES.inc(len(lines))
        for line in lines:
            self.logs.append(node, line)
