"""Taking chosen messages out of the simulated network, one by one, for schedules that are no accident."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kvnode.core.messages import Message


class Packet(NamedTuple):
    """A request or a reply on its way between two workers."""

    source: int
    target: int
    message: Message


Chosen = Callable[[Packet], bool]


class Hold:
    """Keeps the messages that are sent while it stands and that are ``chosen``.

    ``packets`` are those kept so far, in the order in which they were sent. With ``copying`` each
    goes its way all the same, and what is kept is a copy.
    """

    def __init__(self, chosen: Chosen, *, copying: bool = False) -> None:
        self.packets: list[Packet] = []
        self._chosen = chosen
        self._copying = copying
        self._arrivals: list[Callable[[], None]] = []
        self._stands = True

    def takes(self, packet: Packet, arrived: Callable[[], None]) -> bool:
        """Keep a message if it is chosen; whether it must not travel. ``arrived`` delivers it."""
        if not self._stands or not self._chosen(packet):
            return False
        self.packets.append(packet)
        self._arrivals.append(arrived)
        return not self._copying

    def drop(self) -> None:
        """Keep nothing more, and lose what was kept."""
        self._stands = False
        self.packets.clear()
        self._arrivals.clear()

    def release(self) -> None:
        """Keep nothing more, and deliver what was kept, whatever has been cut meanwhile.

        A request reaches the process that it was meant for though its link has broken; a reply is
        lost with its link.
        """
        self._stands = False
        self.packets.clear()
        arrivals, self._arrivals = self._arrivals, []
        for arrived in arrivals:
            arrived()
