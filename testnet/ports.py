"""Free TCP ports on loopback for servers whose addresses must be known before they start."""

import random
import socket
from pathlib import Path

from node.errors import OperatorError

_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_240
_ATTEMPTS = 200


class NoFreePorts(OperatorError):
    """No block of free ports was found."""


def free_ports(count: int) -> range:
    """Return so many consecutive ports that nobody listens on; raise `NoFreePorts`.

    They lie below the range that the system takes for outgoing connections: from that range, a
    connection could occupy the port of a node that is being restarted.
    """
    highest = _first_ephemeral() - count
    if highest <= _LOWEST:
        raise NoFreePorts(f"{_RANGE_FILE} leaves no {count} ports for servers")
    for _ in range(_ATTEMPTS):
        first = random.randrange(_LOWEST, highest)
        ports = range(first, first + count)
        if all(map(_is_free, ports)):
            return ports
    raise NoFreePorts(f"no {count} consecutive free ports on 127.0.0.1; stop other servers")


def _first_ephemeral() -> int:
    try:
        return int(_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
