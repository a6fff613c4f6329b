"""What a worker says beside keys and values: where a key lives, how the worker is, what it counts."""

from __future__ import annotations

from kvnode import metrics
from kvnode.api.answers import Answer, encoded
from kvnode.api.gate import Gate
from kvnode.api.keys import parse_key
from kvnode.api.requests import ApiRequest
from kvnode.api.service import KeyService
from kvnode.config import ClusterConfig

PREFIX = "/partition/"
FRESH = {"cache-control": "no-store"}


class Views:
    """The handlers of all routes of one worker but ``/kv/{key}``. They are never refused for load."""

    def __init__(self, service: KeyService, cluster: ClusterConfig, worker: int, gate: Gate) -> None:
        self._service = service
        self._worker = worker
        self._gate = gate
        self._addresses = {entry.id: f"http://{entry.rest}" for entry in cluster.workers}

    async def partition(self, request: ApiRequest) -> Answer:
        """Tell where a key lives: the ring's primary, all replicas, the leader now (null: unknown)."""
        key = parse_key(request.key_text(PREFIX))
        place = self._service.place(key)
        primary = place.replicas[0]
        return encoded(
            {
                "key": key,
                "partition": place.partition,
                "primary_address": self._addresses[primary],
                "primary_id": primary,
                "replica_node_ids": place.replicas,
                "replica_addresses": [self._addresses[worker] for worker in place.replicas],
                "leader_id": place.leader or None,
            },
            headers=FRESH,
        )

    async def healthz(self, _request: ApiRequest) -> Answer:
        """Liveness: the process answers."""
        return encoded({"status": "ok", "worker": self._worker}, headers=FRESH)

    async def readyz(self, _request: ApiRequest) -> Answer:
        """Readiness: 503 with reasons while requests should go elsewhere."""
        reasons = list(self._service.readiness())
        if self._gate.draining:
            reasons.append("the REST server is draining")
        state = self._service.status().state
        answer = {"ready": not reasons, "state": state, "reasons": reasons}
        return encoded(answer, 503 if reasons else 200, FRESH)

    async def status(self, _request: ApiRequest) -> Answer:
        """Return this worker's own status."""
        return encoded(self._service.status(), headers=FRESH)

    async def metrics(self, _request: ApiRequest) -> Answer:
        """Return all metrics in Prometheus' text format."""
        return Answer(metrics.render(), 200, dict(FRESH), metrics.CONTENT_TYPE)
