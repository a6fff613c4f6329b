"""Folded stacks, as py-spy writes them, added up by function."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

_THREAD = re.compile(r'^thread \(\w+\)(?:: "?(?P<name>.*?)"?)?$')
LOOP = "Runner.run "
"""What starts the event loop; what is outside of it tells nothing."""

_LIBRARY = re.compile(r"\(.*?site-packages/")


@dataclass
class Stacks:
    """Samples by function: where each was, and which functions it was within; and by thread."""

    samples: int = 0
    own: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)
    threads: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, path: Path) -> Stacks:
        """Add up a file of lines ``frame;frame;… count``, the outermost frame first."""
        stacks = cls()
        for line in path.read_text(encoding="utf-8").splitlines():
            text, _, number = line.rpartition(" ")
            stacks._add([_LIBRARY.sub("(", frame) for frame in text.split(";")], int(number))
        return stacks

    def _add(self, frames: list[str], count: int) -> None:
        self.samples += count
        thread = _THREAD.match(frames[0])
        if thread is not None:
            frames = frames[1:]
            self.threads[thread["name"] or "?"] += count
        loop = [number for number, frame in enumerate(frames) if frame.startswith(LOOP)]
        if loop:
            frames = frames[loop[-1] :]
        if frames:
            self.own[frames[-1]] += count
        self.within.update(dict.fromkeys(frames, count))

    def table(self, counts: Counter[str], title: str, top: int) -> Table:
        """Return the functions that most samples were at, in percent of all of the process's samples."""
        shown = Table(title, "%", title_justify="left", box=None, pad_edge=False)
        shown.columns[1].justify = "right"
        for frame, count in counts.most_common(top):
            shown.add_row(frame, f"{100 * count / self.samples:.1f}")
        return shown
