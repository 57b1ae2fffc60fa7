"""Where a member listens, and the libp2p identity that its Ed25519 key gives it."""

import ipaddress
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, AF_UNSPEC, SOCK_STREAM, AddressFamily
from typing import Any, Final

import trio
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.peer.id import ID
from multiaddr import Multiaddr

_FAMILIES: Final = {
    "ip4": AF_INET,
    "ip6": AF_INET6,
    "dns": AF_UNSPEC,
    "dns4": AF_INET,
    "dns6": AF_INET6,
}
_ADDRESSES_TRIED_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A member's Ed25519 key (32 bytes) and where it listens, as a multiaddr, if that is known.

    `name` is what logs call it; by default what the mesh does.
    """

    ed25519_key: bytes
    multiaddr: str | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP endpoint: a name or an IP address, and what its name may resolve to."""

    host: str
    port: int
    family: AddressFamily
    is_name: bool

    async def connect(self) -> trio.SocketStream:
        """Open a TCP connection; raise `OSError` if none of the addresses answers.

        Trio sets TCP_NODELAY on every stream, so a write leaves at once.
        """
        if not self.is_name:
            return await trio.open_tcp_stream(self.host, self.port)
        found = await trio.socket.getaddrinfo(
            self.host, self.port, family=self.family, type=SOCK_STREAM
        )
        error: OSError = OSError(f"{self.host} has no address")
        for *_, address in found[:_ADDRESSES_TRIED_MAX]:
            try:
                return await trio.open_tcp_stream(address[0], self.port)
            except OSError as failure:
                error = failure
        raise error


def peer_id_of(ed25519_key: bytes) -> ID:
    """Return the libp2p peer id of an Ed25519 public key (32 bytes)."""
    if len(ed25519_key) != 32:
        raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(ed25519_key)}")
    return ID.from_pubkey(Ed25519PublicKey.from_bytes(ed25519_key))


def endpoint_of(multiaddr: str, peer_id: ID | None = None) -> Endpoint:
    """Return the TCP endpoint of a multiaddr: /ip4, /ip6, /dns, /dns4 or /dns6, then /tcp.

    A trailing /p2p/<peer id> is allowed if it names `peer_id`. Raises ValueError otherwise.
    """
    try:
        parts: list[tuple[Any, Any]] = list(Multiaddr(multiaddr).items())
        names = [(protocol.name, value) for protocol, value in parts]
    except Exception as error:
        raise ValueError(f"{multiaddr!r} is not a multiaddr: {error}") from None
    kinds = [name for name, _ in names]
    if len(names) not in (2, 3) or kinds[0] not in _FAMILIES or kinds[1] != "tcp":
        raise ValueError(
            f"{multiaddr!r} is not a TCP address; write it as /ip4/192.0.2.1/tcp/9000 or "
            "/dns4/node.example.org/tcp/9000"
        )
    if len(names) == 3 and (kinds[2] != "p2p" or str(names[2][1]) != str(peer_id)):
        raise ValueError(f"{multiaddr!r} does not end in /p2p/{peer_id}, the member's peer id")
    host = str(names[0][1])
    return Endpoint(
        host=host,
        port=int(names[1][1]),
        family=_FAMILIES[kinds[0]],
        is_name=kinds[0].startswith("dns"),
    )


def listen_endpoint_of(multiaddr: str) -> Endpoint:
    """Return the endpoint to listen at; raise ValueError unless it is an IP address with a port."""
    endpoint = endpoint_of(multiaddr)
    if endpoint.is_name:
        raise ValueError(
            f"cannot listen at {multiaddr!r}: name an IP address, such as /ip4/0.0.0.0/tcp/9000"
        )
    return endpoint


def multiaddr_of(host: str, port: int) -> str:
    """Return the multiaddr of an IP address and a TCP port."""
    version = ipaddress.ip_address(host).version
    return f"/ip{version}/{host}/tcp/{port}"
