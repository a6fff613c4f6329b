"""What people see: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kvnode.local.child import Child
from kvnode.local.plan import HOST

_STYLES = {"ready": "green", "stopped": "bold red", "stopping": "yellow", "starting": "yellow"}


class Screen:
    """Shows children. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._children: Sequence[Child] = ()
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2)

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def show(self, children: Sequence[Child]) -> None:
        """Show these from now on."""
        self._children = children

    def say(self, text: str) -> None:
        """Print one line above the table."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def changed(self, child: Child) -> None:
        """Say that a child is otherwise than before."""
        if self._live is None:
            self.say(f"{child.node.name}: {child.state}{f' ({child.detail})' if child.detail else ''}")

    def _table(self) -> Table:
        table = Table("node", "address", "process", "state", "", box=None, pad_edge=False)
        for child in self._children:
            state = Text(child.state, style=_STYLES.get(child.state, "bold yellow"))
            address = f"http://{HOST}:{child.node.rest_port}"
            table.add_row(child.node.name, address, str(child.pid or ""), state, Text(_detail(child)))
        return table


def _detail(child: Child) -> str:
    if child.restarts_at is None:
        return child.detail
    left_s = max(0, round(child.restarts_at - time.monotonic()))
    return f"{child.detail} (in {left_s} s)"
