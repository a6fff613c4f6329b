"""HTTP to the hosts, sent from inside their namespace: a connection a request, and no retries."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.hosts import namespace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import ThreadPoolExecutor

    from tests.hosts.plan import Host


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, header names in lower case. ``status`` 0: there was none, ``error`` says why."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


class Client:
    """A client inside the hosts' namespace, usable from any thread."""

    def __init__(self, threads: int = 4) -> None:
        self._pool: ThreadPoolExecutor = namespace.executor(threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def send(
        self,
        host: Host,
        method: str,
        target: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10,
    ) -> Answer:
        """Send one request to the process on ``host``."""
        return self._pool.submit(exchange, host, method, target, body, headers or {}, timeout_s).result()

    def get(self, host: Host, target: str, **options: Any) -> Answer:  # noqa: ANN401 (send's own)
        """GET ``target``."""
        return self.send(host, "GET", target, **options)

    def put(self, host: Host, key: str, value: object, **options: Any) -> Answer:  # noqa: ANN401 (send's own)
        """PUT a key."""
        return self.send(host, "PUT", path(key), {"value": value}, **options)


def path(key: str) -> str:
    """A key's path."""
    return "/kv/" + quote(key, safe="")


def exchange(
    host: Host, method: str, target: str, body: object, extra: Mapping[str, str], timeout_s: float
) -> Answer:
    """Send one request from this thread, which must be inside the namespace; never raises for trouble."""
    connection = http.client.HTTPConnection(host.address, host.port, timeout=timeout_s)
    content = None if body is None else json.dumps(body)
    kind = {"Content-Type": "application/json"} if content is not None else {}
    try:
        connection.request(method, target, content, {**kind, **extra})
        response = connection.getresponse()
        text = response.read()
        is_json = "json" in response.headers.get("Content-Type", "")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, json.loads(text) if is_json else text, headers)
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, error=repr(error))
    finally:
        connection.close()
