"""Free ports for servers that are told their number before they start, and for addresses where nobody is to answer.

The kernel gives its own ports to whoever asks for any: other servers, and every connection that is opened. So these are
from below its range, and each worker of pytest-xdist has a part of them for itself: what is free now stays free.
"""

import os
import socket
from itertools import count
from pathlib import Path

_FIRST, _PART = 10_000, 1_400
_turns = count(os.getpid())  # Other runs on this machine begin elsewhere.


def free_port() -> int:
    """A port of all loopback addresses on which nobody listens now, and which nobody is given soon."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Such ports, all different."""
    found: list[int] = []
    while len(found) < number:
        port = _next()
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _next() -> int:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    begins = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    parts = (begins - _FIRST) // _PART
    if parts < 1:  # The kernel uses all of them by itself here.
        with socket.socket() as sock:
            sock.bind(("", 0))
            return int(sock.getsockname()[1])
    return _FIRST + worker % parts * _PART + next(_turns) % _PART


def _is_free(port: int) -> bool:
    """Whether somebody can listen there, with TCP at any address, and with UDP (a name server has both)."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as sock:
            try:
                sock.bind(("", port))
            except OSError:
                return False
    return True
