"""gRPC between nodes: the one place that knows of it.

``transport`` carries replication's messages, ``control_client`` and ``control_server`` the workers'
reports, ``inspection`` the controller's questions. A worker's port, and what its peers send to it, are
served by ``http2`` on the event loop; all else by grpcio. Its C library writes to stderr by itself, and
not in JSON; it is told to be silent, which must happen before its first import. What fails is raised too.
No process that speaks gRPC forks without executing another program: its handlers for that are left
out, since they may hold up the fork. Sockets are polled by the one thread that also completes calls, as
gRPC did before its event engine: a message wakes one thread less at either end.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
