"""Where libp2p is repaired, and why.

Used as it is: key and peer id formats, multistream-select, the Noise XX handshake. Not used: the
swarm and the basic host above them, because of what was reproduced in version 0.8.1:

- the default security options include plaintext, where anyone may claim any peer id;
- an exception that leaves a stream handler cancels the whole host;
- each accepted connection leaves a task and a limiter token behind, and the host refuses all
  inbound connections after 250;
- a failed dial blocks the peer for 60 s, and `connect` takes at least 250 ms;
- closing the connection of a frozen peer hangs on the farewell that is written to it;
- the auto-connector, the rate limiter and the circuit breaker act on their own.

Repaired here and in `node.network.yamux`, each by a class of our own in libp2p's place:

1. `Wire` for `TrioTCPStream`. The handshake of a stranger reads what the stranger announces:
   a length of 2**40 becomes one `recv` of that size. `Wire` reads small pieces, within a budget
   for the whole handshake, and raises at the end of the stream, where libp2p tries a hundred
   times more.
2. `NoisePackets` for `SecureSession`. libp2p reads each packet with two locked `recv` calls, and
   each Yamux frame with two reads of those. `NoisePackets` opens every packet that one `recv`
   brought. It uses the very cipher states of the finished handshake.
3. `node.network.yamux.Session` for `Yamux`, which lets a peer exceed its receive window without
   bound, over-grants it besides, and polls a closed send window every 10 ms.

These reach into private parts, so they hold for one version and refuse to run with another.
"""

import logging
from importlib.metadata import version
from typing import Final

import trio
from libp2p.abc import ISecureConn
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession

REPAIRED_VERSION: Final = "0.8.1"
_READ_BYTES_MAX: Final = 4_096
_LENGTH_BYTES: Final = 2
_TAG_BYTES: Final = 16
PLAINTEXT_BYTES_MAX: Final = 0xFFFF - _TAG_BYTES
"""A Noise packet is at most 65,535 bytes, its authentication tag among them."""


def check_version() -> None:
    """Raise RuntimeError unless the installed libp2p is the one these repairs were written for."""
    installed = version("libp2p")
    if installed != REPAIRED_VERSION:
        raise RuntimeError(
            f"libp2p {installed} is installed, but node/network/libp2p_repairs.py was written for "
            f"{REPAIRED_VERSION}: install that version, or go through the repairs again"
        )


def silence() -> None:
    """Keep libp2p from logging every failed dial as an error; `PeerStatus` tells what matters."""
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)


class HandshakeTooLong(IOException):
    """The peer sent more bytes than any honest handshake has."""


class Wire(ReadWriteCloser):
    """The TCP stream during the handshake: reads are small, and few in all."""

    def __init__(self, stream: trio.SocketStream, read_bytes_max: int) -> None:
        self._stream = stream
        self._left = read_bytes_max

    async def read(self, n: int | None = None) -> bytes:
        """Return up to `n` bytes; raise at the end of the stream or of the budget."""
        wanted = min(_READ_BYTES_MAX if n is None else n, _READ_BYTES_MAX, self._left)
        if n == 0:
            return b""
        if wanted <= 0:
            raise HandshakeTooLong("the handshake is longer than any honest one")
        try:
            data = bytes(await self._stream.receive_some(wanted))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError("connection lost during the handshake") from error
        if not data:
            raise ConnectionClosedError("connection closed during the handshake")
        self._left -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Write all of the data."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError("connection lost during the handshake") from error

    async def close(self) -> None:
        """Close the socket at once."""
        await trio.aclose_forcefully(self._stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return None: libp2p is not told addresses it has no use for."""
        return None


class NoisePackets:
    """Seals and opens the packets of a finished Noise handshake, without I/O."""

    __slots__ = ("_noise", "_received", "opened", "packets")

    def __init__(self, secured: ISecureConn) -> None:
        assert isinstance(secured, SecureSession), "Noise makes no other"
        assert isinstance(secured.conn, NoiseTransportReadWriter), "Noise makes no other"
        self._noise = secured.conn.noise_state
        self._received = bytearray()
        self.opened = bytearray(secured._drain(None))
        """Plaintext that the consumer has not taken yet; it deletes what it takes."""
        self.packets = 0
        """How many packets were opened."""

    def seal(self, plaintext: bytes) -> bytes:
        """Return one packet with the plaintext, at most PLAINTEXT_BYTES_MAX bytes of it."""
        ciphertext: bytes = self._noise.encrypt(plaintext)
        return len(ciphertext).to_bytes(_LENGTH_BYTES, "big") + ciphertext

    def open(self, data: bytes) -> None:
        """Add the plaintext of every packet that the data completes to `opened`.

        Raises NoiseInvalidMessage for a packet that is not the peer's next one.
        """
        received = self._received
        received += data
        start = 0
        available = len(received)
        while available - start >= _LENGTH_BYTES:
            body = start + _LENGTH_BYTES
            end = body + int.from_bytes(received[start:body], "big")
            if end > available:
                break
            self.opened += self._noise.decrypt(bytes(received[body:end]))
            self.packets += 1
            start = end
        if start:
            del received[:start]
