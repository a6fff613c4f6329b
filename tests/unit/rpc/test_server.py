"""The servers themselves: their ports, and the standard health service."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2

from kvnode.errors import PeerError
from kvnode.rpc.channel import open_channel, unary_call
from kvnode.rpc.methods import CONTROL, REPLICATION
from kvnode.rpc.transport import GrpcTransport
from tests.unit.rpc.fakes import MEANING, FakeInbox, hello, serving
from tests.unit.rpc.test_control import FakeSink, controller


async def check(channel: grpc.aio.Channel, service: str) -> health_pb2.HealthCheckResponse:
    """Ask as any health probe does."""
    question = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    answer = await unary_call(channel, "/grpc.health.v1.Health/Check")(question, timeout=5)
    return health_pb2.HealthCheckResponse.FromString(answer)


async def test_a_taken_port_is_named() -> None:
    """A second listener on one port is refused, with the address in the error."""
    async with serving(FakeInbox(hello(1))) as first:
        bind = f"127.0.0.1:{first.port}"
        second = GrpcTransport(FakeInbox(hello(2)), bind=bind, layout=MEANING, peers={})
        with pytest.raises(PeerError, match=bind):
            await second.start()
        await second.stop(0)


@pytest.mark.parametrize("service", ["", REPLICATION])
async def test_the_standard_health_service_answers(service: str) -> None:
    """Any gRPC health probe finds the server serving, as a whole and by service."""
    async with (
        serving(FakeInbox(hello(1))) as transport,
        open_channel(f"127.0.0.1:{transport.port}") as channel,
    ):
        answer = await check(channel, service)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_controllers_port_answers_health_probes_too() -> None:
    """The controller's server says that it serves, as a whole and by service."""
    async with controller(FakeSink()) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        answers = [await check(channel, service) for service in ("", CONTROL)]
    assert [answer.status for answer in answers] == [health_pb2.HealthCheckResponse.SERVING] * 2


async def test_a_stopped_server_is_not_there() -> None:
    """After a stop the port answers no more."""
    async with serving(FakeInbox(hello(1))) as transport:
        port = transport.port
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await check(channel, "")
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
