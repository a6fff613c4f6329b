"""``python -m tests.unit.rpc.child PORT PROCESS``: worker 2 in a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import sys

from tests.unit.rpc.fakes import FakeInbox, hello, serving


async def main(port: str, process: str) -> None:
    """Serve until killed; a line on stdout says that it listens."""
    async with serving(FakeInbox(hello(2, process)), bind=f"127.0.0.1:{port}"):
        print("listening", flush=True)  # noqa: T201 - whoever started it waits for this
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
