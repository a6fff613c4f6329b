"""No bytes from a client are an error of the server, and whatever can be read is answered."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.api.conftest import Servers

TIMEOUT_S = 10.0

methods = st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST", "OPTIONS"]) | st.text(
    "AZaz0!~", min_size=1
)
printable = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
keys = st.text(st.sampled_from('ab/.%20FfcC3A9?&=#+;\\"') | printable, max_size=30)
targets = st.sampled_from(["/kv/", "/partition/", "/", "", "/healthz", "//"]).flatmap(
    lambda prefix: keys.map(lambda key: prefix + key)
)
names = st.sampled_from(
    [
        "If-Match",
        "If-None-Match",
        "X-Request-ID",
        "Content-Type",
        "Content-Encoding",
        "Expect",
        "Range",
        "Host",
    ]
)
header_values = st.text('"W/*,3.1 ' + "é\t;=x", max_size=20) | st.sampled_from(
    ["application/json", "100-continue", '"3.1.1"', "gzip"]
)
heads = st.lists(st.tuples(names, header_values), max_size=4)
json_like = st.text('{}[]",:value01eE-+.\\u dD8"\n', max_size=40).map(str.encode)
bodies = (
    st.none() | json_like | json_like.map(lambda text: b'{"value":' + text + b"}") | st.binary(max_size=40)
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve in a thread of its own, so that plain sockets can be used against it."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve(opened: asyncio.Future[int]) -> None:
        async with AsyncExitStack() as stack:
            rest = await Servers(stack).start()
            opened.set_result(rest.server.port)
            await stop.wait()

    opened = loop.create_future()
    with ThreadPoolExecutor(1) as executor:
        task = loop.create_task(serve(opened))
        loop.run_until_complete(opened)
        served = executor.submit(loop.run_until_complete, task)
        yield opened.result()
        loop.call_soon_threadsafe(stop.set)
        served.result(TIMEOUT_S)
    loop.close()


def exchange(port: int, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes (``end``: and say that no more will come), and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def request_bytes(method: str, target: str, head: list[tuple[str, str]], body: bytes | None) -> bytes:
    """Frame a request correctly, whatever it holds."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in head)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + (body or b"")


def check(answer: bytes) -> None:
    """Whatever is an answer blames the client, in the agreed form."""
    head, _, body = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    assert match, answer
    status = int(match[1])
    assert 200 <= status < 500
    if body and status >= 400:
        problem = json.loads(body)
        assert problem.get("status", 404) == status
        assert problem.get("found", False) is False


@settings(max_examples=300)
@given(method=methods, target=targets, head=heads, body=bodies)
@example(method="GET", target="", head=[], body=None)
@example(method="PUT", target="/kv/a", head=[("Expect", "100-continue")], body=b'{"value":1}')
def test_any_request_is_answered_below_500(
    port: int, method: str, target: str, head: list[tuple[str, str]], body: bytes | None
) -> None:
    """Well-framed requests of any content get an answer, and never a 5xx."""
    check(exchange(port, request_bytes(method, target, head, body)))


@settings(max_examples=200)
@given(data=st.binary(max_size=200), cut=st.integers(0, 80))
def test_any_bytes_are_survived(port: int, data: bytes, cut: int) -> None:
    """Bytes of any kind, alone or after half a request, never are an error of the server."""
    for sent in (data, request_bytes("PUT", "/kv/a", [], b'{"value":1}')[:cut] + data):
        answer = exchange(port, sent, end=True)
        if answer:
            check(answer)
    assert b"200 OK" in exchange(port, request_bytes("GET", "/healthz", [], None))
