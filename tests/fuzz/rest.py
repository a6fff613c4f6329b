"""Bytes that are nearly, or not at all, HTTP requests."""

from __future__ import annotations

import asyncio
import contextlib
import re
from random import Random

ANSWER_S = 0.5
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_METHODS = (b"GET", b"PUT", b"DELETE", b"HEAD", b"POST", b"OPTIONS", b"BREW", b"get", b"", b"PUT\0")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/3", b"")
_PATHS = (
    b"/kv/",
    b"/partition/",
    b"/healthz",
    b"/status",
    b"/logs",
    b"/workers/1/keys",
    b"/socket.io/",
    b"/",
    b"*",
    b"",
)
_KEYS = (
    b"a",
    b"%",
    b"%zz",
    b"%ff",
    b"%C3%A9",
    b"%2F..%2F",
    b"..",
    b"//",
    b"#",
    b"?",
    b"?consistency=local",
    b"?consistency=x",
    b"?limit=99999999999999999999",
    b"?before=-1",
    b"?EIO=4&transport=polling",
    b"%00",
    b"k" * 1025,
    b"k" * 20_000,
    b"\xff",
    b" ",
    b"\r",
)
_HEADERS = (
    b'If-Match: "1.1.1"',
    b"If-Match: *",
    b'If-Match: "',
    b"If-Match: W/",
    b"If-None-Match: *",
    b'If-None-Match: "999999999999999999.1.1"',
    b"X-Request-ID: " + b"x" * 200,
    b"X-Request-ID: \xff",
    b"Expect: 100-continue",
    b"Expect: cake",
    b"Content-Type: text/plain",
    b"Content-Type: application/json; charset=latin-1",
    b"Content-Encoding: gzip",
    b"Upgrade: websocket",
    b"Connection: upgrade",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: x",
    b"Host: \0",
    b"no colon",
    b": empty",
    b"X: " + b"y" * 17_000,
    b"Sec-WebSocket-Key: x",
    b"Sec-WebSocket-Version: 13",
)
_BODIES = (
    b'{"value":1}',
    b'{"value":',
    b"{}",
    b"[]",
    b"",
    b"null",
    b'{"value":1,"value":2}',
    b'{"value":"\\ud800"}',
    b'{"value":NaN}',
    b'{"value":1e999}',
    b"[" * 500,
    b'{"value":' + b"[" * 200 + b"]" * 200 + b"}",
    b"\xff\xfe",
    b'{"other":1}',
    b'{"value":"\n"}',
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\n",
    b"-1\r\n",
    b"ffffffffffffffff\r\nx",
    b"0\r\nTrailer: x\r\n\r\n",
)


def request_bytes(random: Random) -> bytes:
    """Make one request, whole or maimed. Keys begin with ``fuzz`` or are none."""
    target = random.choice(_PATHS) + random.choice((b"fuzz", b"")) + random.choice(_KEYS)
    body = random.choice(_BODIES) if random.random() < 0.8 else random.randbytes(random.randrange(200))
    lines = [
        b" ".join(
            (
                random.choice(_METHODS),
                target,
                random.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/3", b"")),
            )
        )
    ]
    lines += random.sample(_HEADERS, random.choice((0, 0, 1, 2, 3)))
    if random.random() < 0.7:
        lines.append(b"Content-Length: %d" % max(0, len(body) + random.choice((0, 0, 0, -1, 1))))
    data = b"\r\n".join((*lines, b"", body))
    match random.randrange(10):
        case 0:
            return data[: random.randrange(len(data) + 1)]
        case 1:
            place = random.randrange(len(data))
            return data[:place] + random.randbytes(random.randrange(1, 9)) + data[place + 1 :]
        case 2:
            return random.randbytes(random.randrange(1, 300))
        case 3:
            return data * 3
    return data


async def send_bytes(port: int, data: bytes) -> list[int]:
    """Send them over a connection of their own and return the statuses that come back in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parts = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        writer.write(data)
        async with asyncio.timeout(ANSWER_S):
            while part := await reader.read(65536):
                parts.append(part)
    writer.transport.abort()
    return [int(status) for status in _STATUS.findall(b"".join(parts))]
