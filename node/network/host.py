"""The hardened libp2p host: one identity, Noise behind a gate, Yamux, one protocol.

What it refuses, and which of libp2p's own parts it does without, is told in
`node.network.libp2p_repairs`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.generic_selector import GenericMultistreamSelector
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.upgrader import TransportUpgrader

from node.network.gate import NoiseGate
from node.network.libp2p_repairs import NoisePackets, Wire, check_version, silence
from node.network.limits import Limits
from node.network.rate import TokenBucket
from node.network.standing import Standing
from node.network.yamux import Session, SessionClosed, Stream

COMMITTEE_PROTOCOL: Final = TProtocol("/didyma/committee/1")
_HANDSHAKE_BYTES_MAX: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Connection:
    """An authenticated connection and its one stream."""

    peer_id: ID
    session: Session
    stream: Stream


class Host:
    """Turns TCP connections into authenticated ones, in both directions."""

    def __init__(
        self, identity_seed: bytes, admitted: Mapping[ID, Standing], limits: Limits
    ) -> None:
        check_version()
        silence()
        identity = create_new_key_pair(identity_seed)
        self.peer_id = ID.from_pubkey(identity.public_key)
        self._limits = limits
        self._seconds = max(1, int(limits.handshake_seconds))
        # Nothing but Noise: whoever offers plaintext or TLS finds no protocol in common.
        self._upgrader = TransportUpgrader(
            {TProtocol(NOISE): NoiseGate(identity, admitted)}, {}, self._seconds
        )
        self._muxers: Any = GenericMultistreamSelector()
        self._muxers.add_handler(TProtocol(YAMUX), Session)
        self._protocols: Any = GenericMultistreamSelector()
        self._protocols.add_handler(COMMITTEE_PROTOCOL, None)

    async def upgrade(
        self, socket: trio.SocketStream, nursery: trio.Nursery, peer_id: ID | None
    ) -> Connection:
        """Authenticate, multiplex and negotiate; the session's tasks then run in the nursery.

        `peer_id` is whom we dialed, or None for an inbound connection. Raises whatever libp2p
        raises when the peer is not the one dialed, is refused, or breaks a protocol; the caller
        closes the socket, and bounds the time.
        """
        initiator = peer_id is not None
        raw = RawConnection(Wire(socket, _HANDSHAKE_BYTES_MAX), initiator)
        secured = await self._upgrader.upgrade_security(raw, initiator, peer_id)
        await self._muxers.select(secured, initiator, self._seconds)
        # Every frame of ours is at most one packet and one Yamux frame.
        packet_rate = TokenBucket(
            2 * self._limits.frames_per_second + 100,
            2 * self._limits.frames_burst + 1_000,
            trio.current_time(),
        )
        session = Session(socket, NoisePackets(secured), initiator, packet_rate)
        nursery.start_soon(session.run)
        stream = await (self._propose(session) if initiator else self._agree(session, nursery))
        session.refuse_streams()
        return Connection(secured.get_remote_peer(), session, stream)

    async def _propose(self, session: Session) -> Stream:
        stream = await session.open_stream()
        await self._protocols.select(stream, True, self._seconds)
        return stream

    async def _agree(self, session: Session, nursery: trio.Nursery) -> Stream:
        """Return the first of the peer's streams that asks for our protocol.

        libp2p peers open streams for protocols of their own; those find nothing in common. Their
        negotiations are left to end by themselves: cancelling one may cut a packet in two.
        """
        agreed, result = trio.open_memory_channel[Stream](1)

        async def negotiate(stream: Stream) -> None:
            # Whatever goes wrong in the negotiation of a stream concerns that stream alone.
            with suppress(Exception):
                await self._protocols.select(stream, False, self._seconds)
                agreed.send_nowait(stream)

        async def accept() -> None:
            with suppress(SessionClosed):
                while True:
                    nursery.start_soon(negotiate, await session.accept_stream())
            agreed.close()

        nursery.start_soon(accept)
        try:
            return await result.receive()
        except trio.EndOfChannel:
            raise SessionClosed(session.reason) from None
