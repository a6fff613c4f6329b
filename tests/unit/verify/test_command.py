"""``kvnode verify`` against servers that are honest, and against servers that lie."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from kvnode.verify.checker import check
from kvnode.verify.command import LINEARIZABLE, UNDECIDED, VIOLATED, Options, verify
from kvnode.verify.history import Told, read_history
from tests.unit.verify.server import (
    BreakingServer,
    ForgetfulServer,
    Server,
    StaleServer,
    UnlockedServer,
    serving,
)


async def run(server: Server, history: Path | None = None) -> tuple[int, str]:
    """Verify a server for a moment; return the exit code and what was printed."""
    out = StringIO()
    async with serving(server) as url:
        options = Options((url,), seconds=1.0, clients=8, keys=3, rate=2000, timeout_s=5, history=history)
        code = await verify(options, Console(file=out, width=200))
    return code, out.getvalue()


async def test_an_honest_server_is_linearizable() -> None:
    """Exit code 0, with a summary; and nothing of the run's keys is left."""
    server = Server()
    code, printed = await run(server)
    assert code == LINEARIZABLE
    assert "linearizable: " in printed
    assert "answered" in printed
    assert server.puts > 10
    assert all(value is None for _, value in server.records.values())


@pytest.mark.parametrize("server", [StaleServer(), ForgetfulServer(), UnlockedServer()], ids=type)
async def test_a_lie_is_found(server: Server) -> None:
    """Stale reads, lost writes and conditions taken for true are violations, and shown."""
    code, printed = await run(server)
    assert code == VIOLATED
    assert "VIOLATED" in printed


async def test_broken_connections_are_unknown_outcomes(tmp_path: Path) -> None:
    """A write whose connection broke is sent once, and counts as perhaps done."""
    server = BreakingServer()
    code, _ = await run(server, tmp_path / "history.jsonl")
    with (tmp_path / "history.jsonl").open("rb") as file:
        ops = list(read_history(file))
    assert code == LINEARIZABLE
    assert any(op.told is Told.UNKNOWN for op in ops)
    assert server.puts <= sum(op.op == "put" for op in ops)
    assert check(ops).linearizable


async def test_nobody_there() -> None:
    """Where nothing answers there is no verdict."""
    out = StringIO()
    options = Options(("http://127.0.0.1:9",), 0.2, 2, 1, 100, 1, None)
    assert await verify(options, Console(file=out)) == UNDECIDED
    assert "nothing was answered" in out.getvalue()
