"""All Prometheus metrics of a node, in one registry: what exists is read here and nowhere else.

Names follow etcd's habits: prefix ``kvnode_``, base units, ``_total`` on counters. Whoever does a
thing counts it. ``render`` is the body of ``GET /metrics``.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from kvnode.tallies import CountTally, HistogramTally

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
REGISTRY = CollectorRegistry()
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each of ours, and of use to nobody here

SYNC_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0)
REQUEST_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

# storage

DISK_SYNC_SECONDS = HistogramTally(
    "kvnode_disk_fdatasync_duration_seconds",
    "How long one fdatasync of the log took.",
    None,
    SYNC_BUCKETS_S,
    REGISTRY,
)
DISK_BATCH_RECORDS = HistogramTally(
    "kvnode_disk_commit_batch_records",
    "How many log lines one fdatasync made durable.",
    None,
    BATCH_BUCKETS,
    REGISTRY,
)
DISK_LOG_BYTES = Counter("kvnode_disk_log_bytes", "Bytes appended to the log.", registry=REGISTRY)
DISK_USED_BYTES = Gauge("kvnode_disk_used_bytes", "Bytes of all segments on disk.", registry=REGISTRY)
DISK_FREE_BYTES = Gauge(
    "kvnode_disk_free_bytes", "Bytes free where the data folder stands.", registry=REGISTRY
)
DISK_FULL = Gauge(
    "kvnode_disk_full", "Whether nothing is accepted for want of space (1) or not (0).", registry=REGISTRY
)
DAMAGED_LINES = Counter(
    "kvnode_disk_damaged_lines", "Damaged lines or files found in the log.", registry=REGISTRY
)
SEGMENTS_SET_ASIDE = Counter(
    "kvnode_disk_segments_set_aside", "Damaged segments that were set aside.", registry=REGISTRY
)
SCRUBBED_BYTES = Counter("kvnode_disk_scrubbed_bytes", "Bytes that the scrub has read.", registry=REGISTRY)
KEYS = Gauge("kvnode_keys", "Keys with a value, as replica.", registry=REGISTRY)
TOMBSTONES = Gauge("kvnode_tombstones", "Deleted keys that are not forgotten yet.", registry=REGISTRY)

# REST

HTTP_REQUESTS = CountTally(
    "kvnode_http_requests", "Requests answered, by status.", ["method", "code"], REGISTRY
)
HTTP_REQUEST_SECONDS = HistogramTally(
    "kvnode_http_request_duration_seconds",
    "How long a request took from its head to its answer.",
    "method",
    REQUEST_BUCKETS_S,
    REGISTRY,
)
INFLIGHT_REQUESTS = Gauge("kvnode_inflight_requests", "Requests being answered now.", registry=REGISTRY)

CONNECTIONS = Gauge("kvnode_http_connections", "HTTP connections open now.", registry=REGISTRY)
CONNECTIONS_CUT = Counter(
    "kvnode_http_connections_cut",
    "HTTP connections closed for what their clients did or did not do, by reason.",
    ["reason"],
    registry=REGISTRY,
)

# replication

OPERATIONS = CountTally(
    "kvnode_operations", "Operations coordinated here, by outcome.", ["kind", "outcome"], REGISTRY
)
PARTITIONS_LED = Gauge("kvnode_partitions_led", "Partitions led now.", registry=REGISTRY)
PARTITIONS_HELD = Gauge("kvnode_partitions_held", "Partitions with a replica here.", registry=REGISTRY)
PARTITIONS_BEHIND = Gauge(
    "kvnode_partitions_behind",
    "Partitions held here and not known to agree with their leader.",
    registry=REGISTRY,
)
TOMBSTONES_FORGOTTEN = Counter(
    "kvnode_tombstones_forgotten", "Tombstones that this node has forgotten.", registry=REGISTRY
)
LEADER_CHANGES = Counter("kvnode_leader_changes", "Times that this node began to lead.", registry=REGISTRY)
LATENT_COPIES = Gauge(
    "kvnode_latent_copies", "Copies not yet durable on a peer.", ["peer"], registry=REGISTRY
)
LATENT_OLDEST_AGE_SECONDS = Gauge(
    "kvnode_latent_oldest_age_seconds", "Age of the oldest of them.", ["peer"], registry=REGISTRY
)
LATENT_DROPPED = Counter(
    "kvnode_latent_dropped", "Late copies left to anti-entropy.", ["peer"], registry=REGISTRY
)
PEER_LIVE = Gauge(
    "kvnode_peer_live", "Whether a peer is seen alive (1) or not (0).", ["peer"], registry=REGISTRY
)

# the rest

LOG_LINES_DROPPED = Counter(
    "kvnode_log_lines_dropped", "Log lines that never reached the controller.", registry=REGISTRY
)
CONTROLLER_WORKERS_ONLINE = Gauge(
    "kvnode_controller_workers_online", "Workers that report to this controller.", registry=REGISTRY
)
CONTROLLER_LOG_LINES = Counter(
    "kvnode_controller_log_lines", "Log lines received, its own included.", registry=REGISTRY
)


def render() -> bytes:
    """Return all metrics in Prometheus' text format (``CONTENT_TYPE``)."""
    return generate_latest(REGISTRY)
