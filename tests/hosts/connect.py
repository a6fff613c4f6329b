"""ssh's ProxyCommand, with ProxyUseFdpass: connect in the hosts' namespace, hand the socket over, leave.

Usage: nsenter --net=/run/netns/kvhosts python3 connect.py ADDRESS PORT. It runs alone, without the checkout
on its path.
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Connect within 5 seconds and pass the socket through standard output."""
    address, port = sys.argv[1], int(sys.argv[2])
    with socket.create_connection((address, port), timeout=5) as connection, socket.socket(fileno=1) as ssh:
        connection.setblocking(True)  # noqa: FBT003 (the standard library's own signature)
        socket.send_fds(ssh, [b"\0"], [connection.fileno()])


if __name__ == "__main__":
    main()
