"""Our client calls gRPC's own server: every kind of call, and every kind of failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from kvnode.errors import PeerError
from kvnode.rpc.channel import MESSAGE_BYTES, Times
from kvnode.rpc.grpcio_server import Context, Handler, stream_handler
from kvnode.rpc.http2.client import ClientConnection
from kvnode.rpc.http2.errors import CallError
from tests.conftest import find_free_ports
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import DEADLINE_S, ECHO, FAIL, MIB, STREAM, WAIT, Notes, dialled

LARGE = bytes(range(256)) * (12 * MIB // 256)
REFUSE = "/test.Test/Refuse"

OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.http2.bdp_probe", 0),  # its windows stay as small as they are at first
)


class Service:
    """The methods of a server of grpcio's."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.ABORTED
        self.details = "as asked"
        self.cancelled = 0
        self.waiting = 0
        self.metadata: dict[str, str | bytes] = {}

    def handlers(self) -> dict[str, Handler]:
        """Return the methods by their names."""
        return {
            "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Wait": grpc.unary_unary_rpc_method_handler(self._wait),
            "Stream": stream_handler(self._stream),
            "Refuse": stream_handler(self._refuse),
        }

    async def _echo(self, data: bytes, context: Context) -> bytes:
        self.metadata = dict(context.invocation_metadata() or ())
        return data

    async def _fail(self, _: bytes, context: Context) -> bytes:
        await context.abort(self.code, self.details)

    async def _wait(self, data: bytes, _: Context) -> bytes:
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return data

    async def _stream(self, _: object, context: Context) -> None:
        while True:
            message = await context.read()
            if not isinstance(message, bytes):
                return
            await context.write(message)

    async def _refuse(self, _: object, context: Context) -> None:
        await context.abort(self.code, self.details)


@pytest.fixture
def service() -> Service:
    """What the server serves."""
    return Service()


@pytest.fixture
async def server(service: Service) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """A server of grpcio's, and its port."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", service.handlers()),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield server, port
    await server.stop(0)


@pytest.fixture
async def connection(server: tuple[grpc.aio.Server, int]) -> AsyncIterator[ClientConnection]:
    """A connection of ours to it."""
    async with dialled(server[1]) as connection:
        yield connection


async def ask(connection: ClientConnection, path: str, question: bytes) -> bytes:
    """Make a single call."""
    return await connection.ask(path, question, timeout_s=DEADLINE_S)


async def refusal(connection: ClientConnection, path: str) -> CallError:
    """Make a single call that is refused, and return how."""
    with pytest.raises(CallError) as failure:
        await ask(connection, path, b"")
    return failure.value


@pytest.mark.parametrize(
    "question", [b"", b"question", b"x" * 100_000], ids=("empty", "small", "several frames")
)
async def test_a_single_call_is_answered(connection: ClientConnection, question: bytes) -> None:
    """What is asked comes back."""
    assert await ask(connection, ECHO, question) == question
    assert not connection._streams


async def test_metadata_arrives(connection: ClientConnection, service: Service) -> None:
    """What a call says beside its message is heard."""
    await connection.ask(ECHO, b"", [("worker", "3"), ("process", "a-b")], timeout_s=DEADLINE_S)
    assert service.metadata["worker"] == "3"
    assert service.metadata["process"] == "a-b"


async def test_many_calls_at_once_are_all_answered(connection: ClientConnection) -> None:
    """Each of 500 calls on one connection gets the answer to its own question."""
    questions = [str(number).encode() for number in range(500)]
    assert await asyncio.gather(*(ask(connection, ECHO, question) for question in questions)) == questions


async def test_large_messages_pass_both_ways(connection: ClientConnection) -> None:
    """12 MiB are asked and answered, though the server opens its windows a little at a time."""
    assert await ask(connection, ECHO, LARGE) == LARGE


async def test_large_calls_at_once_do_not_block_one_another(connection: ClientConnection) -> None:
    """Answers that come in turns, and are more in all than we hold of unfinished ones, do not wait for ever.

    Each arrives or is refused for want of room, and the connection serves the next call.
    """
    asking = (ask(connection, ECHO, LARGE) for _ in range(4))
    answers = await asyncio.gather(*asking, return_exceptions=True)
    refusals = [one.code for one in answers if isinstance(one, CallError)]
    assert set(refusals) <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert answers.count(LARGE) == len(answers) - len(refusals) > 0
    assert await ask(connection, ECHO, LARGE) == LARGE


async def test_a_stream_is_echoed_in_order_and_ends_well(connection: ClientConnection) -> None:
    """Messages of all sizes, most of which wait for the windows, come back in order."""
    notes = Notes()
    call = connection.open(STREAM, (), notes)
    sent = [bytes([number]) * size for number, size in enumerate((3, 0, MIB, 1, 2 * MIB, 70_000, 5, 16_379))]
    for message in sent:
        call.send(message)
    assert call.unsent
    call.finish()
    assert await notes.end() is None
    assert notes.messages == sent
    assert not connection._streams


async def test_a_stream_is_open_before_anything_is_sent(
    connection: ClientConnection, service: Service
) -> None:
    """A server that takes a stream, and says so with a first message, is heard to."""
    notes = Notes()
    call = connection.open(STREAM, (), notes)
    call.send(b"first")
    await notes.until(lambda: notes.is_open)
    await notes.until(lambda: notes.messages == [b"first"])
    assert not notes.ends


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_status_code_arrives(
    connection: ClientConnection, service: Service, code: grpc.StatusCode
) -> None:
    """The code of a refusal is the code that we get."""
    service.code = code
    failure = await refusal(connection, FAIL)
    assert (failure.code, failure.details) == (code, "as asked")


@pytest.mark.parametrize(
    "details", ["100 % größer, naïve, 文\n\t\x7f", "%41", "x" * 3000, " spaces around ", "a line\n"]
)
async def test_details_survive_whatever_is_in_them(
    connection: ClientConnection, service: Service, details: str
) -> None:
    """Other scripts, line ends and percent signs arrive as they were, and the connection lives on."""
    service.details = details
    assert (await refusal(connection, FAIL)).details.strip(" ") == details.strip(" ")
    assert await ask(connection, ECHO, b"still there?") == b"still there?"


async def test_an_unknown_method_is_not_implemented(connection: ClientConnection) -> None:
    """A server that does not know a method says so."""
    assert (await refusal(connection, "/test.Test/Unknown")).code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_stream_that_is_refused_before_any_message_never_opens(connection: ClientConnection) -> None:
    """The refusal is all that the caller hears, once, and what it still wanted to send is forgotten."""
    notes = Notes()
    call = connection.open(REFUSE, (), notes)
    call.send(b"x" * MIB)
    failure = await notes.end()
    assert failure is not None
    assert (failure.code, failure.details) == (grpc.StatusCode.ABORTED, "as asked")
    assert not notes.is_open
    assert not notes.messages
    assert not call.unsent
    call.send(b"too late")
    call.finish()
    assert await ask(connection, ECHO, b"still there?") == b"still there?"
    assert len(notes.ends) == 1


async def test_a_call_without_an_answer_in_time_is_given_up_at_both_ends(
    connection: ClientConnection, service: Service
) -> None:
    """The caller has DEADLINE_EXCEEDED, the server's work is cancelled, and the connection lives on."""
    with pytest.raises(CallError) as failure:
        await connection.ask(WAIT, b"", timeout_s=0.2)
    assert failure.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: service.cancelled == 1)
    assert await ask(connection, ECHO, b"still there?") == b"still there?"


async def test_a_caller_that_is_cancelled_cancels_the_work(
    connection: ClientConnection, service: Service
) -> None:
    """A task of ours that is cancelled while it asks ends the call at the server."""
    asking = asyncio.create_task(connection.ask(WAIT, b""))
    await eventually(lambda: service.waiting == 1)
    asking.cancel()
    await eventually(lambda: service.cancelled == 1)
    assert not connection._streams


async def test_a_stream_that_is_given_up_ends_once(connection: ClientConnection) -> None:
    """Whoever takes it is told CANCELLED at once, and nothing after that."""
    notes = Notes()
    call = connection.open(STREAM, (), notes)
    call.send(b"x" * MIB)
    connection.cancel(call)
    [end] = notes.ends
    assert end is not None
    assert end.code is grpc.StatusCode.CANCELLED
    connection.cancel(call)
    assert await ask(connection, ECHO, b"still there?") == b"still there?"
    assert len(notes.ends) == 1
    assert not notes.messages


async def test_a_server_that_goes_away_ends_all_calls(
    server: tuple[grpc.aio.Server, int], connection: ClientConnection, service: Service
) -> None:
    """Calls under way are UNAVAILABLE, as is each one after them, and the port cannot be dialled again."""
    notes = Notes()
    connection.open(STREAM, (), notes).send(b"hello")
    await notes.until(lambda: notes.messages == [b"hello"])
    asking = asyncio.create_task(connection.ask(WAIT, b""))
    await eventually(lambda: service.waiting == 1)
    await server[0].stop(0)
    failures = [await notes.end(), await asyncio.wait_for(asyncio.gather(asking, return_exceptions=True), 10)]
    assert isinstance(failures[0], CallError)
    assert failures[0].code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    await eventually(lambda: connection.closed)
    with pytest.raises(CallError) as failure:
        await ask(connection, ECHO, b"")
    assert failure.value.code is grpc.StatusCode.UNAVAILABLE


async def test_an_address_where_nobody_listens_is_an_error_of_the_peer() -> None:
    """Dialling fails in words."""
    [port] = find_free_ports(1)
    with pytest.raises(PeerError, match="cannot connect: "):
        await ClientConnection.dial(f"127.0.0.1:{port}", Times())
