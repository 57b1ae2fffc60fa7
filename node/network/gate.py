"""The gate: Noise that lets in only the members it knows.

libp2p's own gate looks at IP addresses. This one looks at the peer id that the Noise handshake
proved, and turns a stranger away before anything is multiplexed for it.
"""

from collections.abc import Mapping

import trio
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import Transport as NoiseTransport

from node.network.standing import Standing


class Refused(HandshakeFailure):
    """The peer proved who it is, and may not come in."""


class NoiseGate(NoiseTransport):
    """Noise XX that admits inbound connections of known members in good standing only."""

    def __init__(self, identity: KeyPair, admitted: Mapping[ID, Standing]) -> None:
        super().__init__(identity, noise_privkey=create_noise_key().private_key)
        self._admitted = admitted

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        """Secure an inbound connection; raise `Refused` if its peer is not to come in."""
        secured = await super().secure_inbound(conn)
        peer_id = secured.get_remote_peer()
        standing = self._admitted.get(peer_id)
        if standing is None:
            raise Refused(f"{peer_id} is no member that may dial us")
        refusal = standing.refusal(trio.current_time())
        if refusal is not None:
            raise Refused(f"{peer_id} is a member, but {refusal}")
        return secured
