"""Bytes that are nearly, or not at all, messages of a peer, by strangers and by who claims to be a worker."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import grpc
import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from kvnode.core.messages import Hello
from kvnode.replication.host import PROTOCOL
from kvnode.rpc.channel import Times, open_channel, stream_call, unary_call
from kvnode.rpc.greetings import Metadata, metadata
from kvnode.rpc.methods import HELLO
from kvnode.rpc.pb import control_pb2, coordination_pb2, replication_pb2

CALL_S = 1.0
_DEFECTS = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)
_OURS = "Internal error from Core"
"""What gRPC's client says of a write to a stream that has ended."""
_FILES = (replication_pb2, coordination_pb2, control_pb2, health_pb2)
_NUMBERS = (0, 1, 2, 3, 5, 7, 63, 64, 255, 256, 4096, 2**31 - 1)
_WIDE = (*_NUMBERS, 2**32 - 1, 10**17, 10**18, 2**63 - 1)
_TEXTS = ("", "a", "fuzz/1", "é", "\0", "k" * 1025, "../..", "\ud7ff")
_VALUES = (b"", b"1", b"{", b'"a\nb"', b"\xff", b"[" * 2000, b'{"a":1}')
_RECORD = [1, "fuzz/1", [1, 1], [1, 1, 1], [1, 1, 1], b"1", False]
_BULK = {
    "items": [_RECORD, "id"],
    "records": _RECORD,
    "held": ["fuzz/1", [1, 1], [1, 1, 1], False, False],
    "ballots": [1, [1, 1]],
    "attempts": [1, [2, "fuzz/1", b"1", [[[1, 1, 1]], False, False], False, "id"], 1000, False],
    "key_events": ["fuzz/1", 1, [1, 1, 1], False],
    "outcomes": [1, [1, [1, 1, 1], b"1", 2, 1, 1, 1, ""]],
}
"""What stands in each of the fields that hold arrays in MessagePack."""


def methods() -> list[tuple[str, Any, bool]]:
    """Return path, message class and whether it is a stream, of every method that any node serves."""
    found = []
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                kind = getattr(file, method.input_type.name)
                found.append((f"/{service.full_name}/{method.name}", kind, bool(method.server_streaming)))
    return found


def fill(random: Random, message: Message, depth: int = 0) -> None:
    """Put something into most fields of a message, and something absurd into some."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.25 or depth > 3:
            continue
        if field.name == "epoch" and random.random() < 0.9:
            setattr(message, field.name, 1)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[random.choice(_NUMBERS)] = random.choice(_TEXTS)
        elif field.is_repeated:
            many = getattr(message, field.name)
            for _ in range(random.choice((0, 1, 1, 2, 64, 300 if depth == 0 else 1))):
                if field.message_type is not None:
                    fill(random, many.add(), depth + 1)
                else:
                    many.append(_scalar(random, field))
        elif field.message_type is not None:
            fill(random, getattr(message, field.name), depth + 1)
        else:
            setattr(message, field.name, _scalar(random, field))


def _scalar(random: Random, field: Any) -> object:  # noqa: ANN401 - of either implementation
    if field.name in _BULK and field.type == FieldDescriptor.TYPE_BYTES:
        many = random.choice((0, 1, 1, 2, 64))
        return msgspec.msgpack.encode([_changed(random, _BULK[field.name]) for _ in range(many)])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return random.choice(_VALUES) if field.type == FieldDescriptor.TYPE_BYTES else random.choice(_TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return random.random() < 0.5
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return random.choice((0.0, -1.0, 1e300, float("inf"), float("nan")))
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return random.randrange(12)
    wide = field.cpp_type in (FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_INT64)
    return random.choice(_WIDE if wide else _NUMBERS)


def _changed(random: Random, value: Any) -> Any:  # noqa: ANN401 - anything that MessagePack can hold
    """Return a value with some of its parts, or all of it, replaced by something absurd."""
    if random.random() < 0.04:
        return random.choice((None, True, -1, 0.5, [], {"a": 1}, *_WIDE, *_TEXTS[:-1], *_VALUES))
    if isinstance(value, list):
        changed = [_changed(random, one) for one in value]
        return changed[: random.randrange(len(value) + 1)] if random.random() < 0.04 else changed
    return random.choice(_WIDE) if type(value) is int and random.random() < 0.1 else value


def message_bytes(random: Random, kind: Any) -> bytes:  # noqa: ANN401 - a generated class
    """Make one message: filled at random, then often truncated or changed, or no message at all."""
    message = kind()
    fill(random, message)
    data: bytes = message.SerializeToString()
    match random.randrange(8):
        case 0:
            return data[: random.randrange(len(data) + 1)]
        case 1:
            return random.randbytes(random.randrange(100))
        case 2 if data:
            place = random.randrange(len(data))
            return data[:place] + random.randbytes(2) + data[place + 1 :]
    return data


class Intruder:
    """A client of one node's gRPC port that claims to be ``claimed``, with that worker's true papers."""

    def __init__(self, random: Random, address: str, claimed: int) -> None:
        self._random = random
        self._claimed = claimed
        self._channel = open_channel(address, Times())
        self._papers: Metadata = ()
        self.methods = methods()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def greet(self, disk: dict[str, Any], layout: str) -> None:
        """Greet as a new process of the claimed worker, on the disk that its status tells of."""
        hello = Hello(
            worker=self._claimed,
            process=f"fuzz-{self._random.randrange(10**9)}",
            incarnation=disk["incarnation"],
            cluster_id=disk["cluster_id"],
            layout=layout,
            epoch=1,
            voting=True,
            release="fuzz",
            protocol=PROTOCOL,
        )
        call = unary_call(self._channel, HELLO.path)
        theirs = HELLO.decode_reply(await call(HELLO.encode_request(hello), timeout=CALL_S))
        self._papers = metadata(hello, theirs)

    @staticmethod
    def is_defect(path: str, status: grpc.StatusCode | None, why: str) -> bool:
        """Whether an answer tells of an exception that nobody meant to raise (health is not ours)."""
        return status in _DEFECTS and why != _OURS and not path.startswith("/grpc.health")

    async def attack(self) -> tuple[str, grpc.StatusCode | None, str]:
        """Send one thing to some method; return its path, the status (None: an answer or silence) and why."""
        path, kind, stream = self._random.choice(self.methods)
        papers = self._papers if self._random.random() < 0.9 else (("kv-from-worker", "x"),)
        try:
            async with asyncio.timeout(CALL_S):
                if not stream:
                    await unary_call(self._channel, path)(message_bytes(self._random, kind), metadata=papers)
                    return path, None, ""
                call = stream_call(self._channel, path)(metadata=papers)
                for _ in range(self._random.choice((1, 1, 2, 5))):
                    await call.write(message_bytes(self._random, kind))
                await call.done_writing()
                while isinstance(await call.read(), bytes):
                    pass
                return path, await call.code(), await call.details()
        except grpc.aio.AioRpcError as failure:
            return path, failure.code(), failure.details() or ""
        except (TimeoutError, asyncio.InvalidStateError):
            return path, None, ""
