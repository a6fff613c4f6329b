"""The composition root: wires one worker or one controller together, starts it and stops it in order.

The order of a worker's start: log recovered, ports bound, READY. Of its stop: no new connections,
requests in flight finished, leaderships handed over, peers' callers gone, log closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from importlib import metadata
from pathlib import Path

import uvloop

from kvnode import sdnotify
from kvnode.api.app import create_app
from kvnode.api.server import RestServer
from kvnode.config import (
    ControllerConfig,
    NodeConfig,
    WorkerConfig,
    join_address,
    split_address,
    warnings,
)
from kvnode.errors import NoSpaceError, PeerError, StorageError
from kvnode.logs import LogBuffer, complain, configure, get_logger
from kvnode.replication.host import WorkerHost
from kvnode.rpc.control_client import ControlClient
from kvnode.rpc.control_server import ControlServer
from kvnode.rpc.inspection import InspectionClient, inspection_routes
from kvnode.rpc.layout import Layout
from kvnode.rpc.transport import GrpcTransport
from kvnode.storage.disk import PosixDisk
from kvnode.storage.space import is_no_space
from kvnode.storage.store import Store
from kvnode.storage.upkeep import Upkeep

STOPPED = 0
FAILED = 1
PORT_TAKEN = 69
STORAGE_UNUSABLE = 74
NO_SPACE = 75

DRAIN_S = 20.0
CLOSE_S = 2.0
LOG_LINES_KEPT = 10_000
LOG_BYTES_KEPT = 8 * 1024 * 1024

_log = get_logger()

_COLLECTIONS_BETWEEN = 100
"""Of the middle generation, for one of all: some 50 s under load, and at most 700,000 objects."""


def run_worker(config: WorkerConfig) -> int:
    """Run a worker until SIGTERM or SIGINT; return the process's exit code."""
    logs = _start_logging(f"worker-{config.worker.id}", config)
    return _run(_worker(config, logs))


def run_controller(config: ControllerConfig) -> int:
    """Run the controller until SIGTERM or SIGINT; return the process's exit code."""
    logs = _start_logging("controller", config)
    return _run(_controller(config, logs))


def _start_logging(node: str, config: NodeConfig) -> LogBuffer:
    logs = LogBuffer(LOG_LINES_KEPT, LOG_BYTES_KEPT)
    configure(node=node, level=config.logging.level, buffer=logs)
    for warning in warnings(config):
        _log.warning("config_warned", warning=warning)
    return logs


def _run(node: Coroutine[None, None, None]) -> int:
    try:
        uvloop.run(node)
    except PeerError as error:
        return _failed(error, PORT_TAKEN)
    except (StorageError, OSError) as error:
        no_space = isinstance(error, NoSpaceError) or is_no_space(error)
        return _failed(error, NO_SPACE if no_space else STORAGE_UNUSABLE)
    except Exception as error:  # noqa: BLE001 - the last line of a process that cannot go on
        return _failed(error, FAILED)
    return STOPPED


def _failed(error: Exception, exit_code: int) -> int:
    """Say why the node stops: in the log with all that is known, and in words."""
    defect = error if exit_code == FAILED else None
    _log.error("node_failed", reason=str(error) or repr(error), exc_info=defect)
    complain(str(error) or repr(error))
    return exit_code


class Ending:
    """Waits for a signal to stop, or for the failure that makes going on wrong."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def failed(self, error: BaseException) -> None:
        """End with an error, from any thread."""

        def fail() -> None:
            if not self._ended.done():
                self._ended.set_exception(error)

        self._loop.call_soon_threadsafe(fail)

    async def wait(self) -> None:
        """Return at a signal; raise what failed."""
        await self._ended


@contextlib.asynccontextmanager
async def _watchdog() -> AsyncIterator[None]:
    """Tell systemd, while the loop turns, that it does."""
    interval_s = sdnotify.watchdog_interval_s()
    if interval_s is None:
        yield
        return

    async def beat() -> None:
        while True:
            sdnotify.watchdog()
            await asyncio.sleep(interval_s / 3)

    task = asyncio.create_task(beat(), name="watchdog")
    try:
        yield
    finally:
        task.cancel()


def _open_store(
    config: WorkerConfig,
    durable: Callable[[int], None],
    damaged: Callable[[frozenset[int]], None],
    ending: Ending,
) -> Store:
    folder = Path(config.worker.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return Store.open(
        PosixDisk(folder),
        worker=config.worker.id,
        partitions=config.cluster.partitions,
        segment_bytes=config.limits.segment_bytes,
        on_durable=durable,
        on_failure=ending.failed,
        on_damage=damaged,
        upkeep=Upkeep(config.limits.reserve_bytes, config.limits.scrub_bytes_per_s),
    )


def _spare_collector() -> None:
    """Take what was loaded so far out of the garbage collector's sight; have it look seldom at what is old.

    Modules and a million keys stay for good; to look through them took 45 ms, with everything waiting.
    What waits for a stopped worker took up to 100 ms, every few seconds; and there is little garbage.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _COLLECTIONS_BETWEEN)


async def _worker(config: WorkerConfig, logs: LogBuffer) -> None:
    ending = Ending()
    host: WorkerHost | None = None

    def durable(lsn: int) -> None:
        if host is not None:
            host.durable(lsn)

    def damaged(partitions: frozenset[int]) -> None:
        if host is not None:
            host.damaged(partitions)

    store = _open_store(config, durable, damaged, ending)
    try:
        release = metadata.version("kvnode")
        host = WorkerHost(config, store, logs, release=release, failed=ending.failed)
        store.start()
        _spare_collector()
        async with _watchdog():
            await _serve_worker(config, host, ending)
    finally:
        store.close()


async def _serve_worker(config: WorkerConfig, host: WorkerHost, ending: Ending) -> None:
    cluster, own = config.cluster, config.cluster.entry(config.worker.id)
    transport = GrpcTransport(
        host,
        bind=join_address(config.worker.bind, split_address(own.grpc)[1]),
        layout=Layout([entry.id for entry in cluster.workers], cluster.partitions, cluster.ring().partition),
        peers={entry.id: entry.grpc for entry in cluster.workers},
        routes=inspection_routes(host),
    )
    app, express = create_app(
        host, cluster=cluster, worker=own.id, limits=config.limits, logging=config.logging
    )
    rest = RestServer(app, express, config.worker.bind, split_address(own.rest)[1], config.limits)
    control = ControlClient(cluster.controller.grpc, host.hello, host.report)
    await rest.start()
    try:
        host.start(transport)
        await transport.start()
        control.start()
        _log.info("worker_started", rest=own.rest, grpc=own.grpc, data_dir=config.worker.data_dir)
        sdnotify.ready(f"worker {own.id} serves {own.rest}")
        await ending.wait()
        sdnotify.stopping("handing over and finishing what is in flight")
        _log.info("worker_draining")
        rest.stop_accepting()
        _, drained = await asyncio.gather(rest.drain(DRAIN_S), host.drain(DRAIN_S))
        _log.info("worker_stopped", drained=drained)
    finally:
        await control.stop()
        await transport.stop(CLOSE_S)
        host.stop()
        with contextlib.suppress(RuntimeError):
            await rest.drain(0)


async def _controller(config: ControllerConfig, logs: LogBuffer) -> None:
    from kvnode.controller.app import Controller  # noqa: PLC0415 - a worker needs neither Socket.IO nor an HTTP client

    ending = Ending()
    cluster = config.cluster
    lister = InspectionClient({entry.id: entry.grpc for entry in cluster.workers})
    controller = Controller(config, lister, logs, release=metadata.version("kvnode"))
    port = split_address(cluster.controller.grpc)[1]
    control = ControlServer(join_address(config.controller.bind, port), controller.check, controller)
    await control.start()
    try:
        await controller.start()
        async with _watchdog():
            sdnotify.ready(f"the dashboard is at http://{cluster.controller.rest}/")
            await ending.wait()
        sdnotify.stopping("closing")
        await controller.stop()
    finally:
        await control.stop()
        await lister.stop()
