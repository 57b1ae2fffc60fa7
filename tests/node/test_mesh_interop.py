"""The mesh and libp2p's own host understand each other, in both directions."""

import hashlib

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr
from nacl.signing import SigningKey

from node.network.address import PeerAddress, peer_id_of
from node.network.host import COMMITTEE_PROTOCOL
from node.network.mesh import Mesh

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
SEEDS = [hashlib.sha256(b"interop %d" % member).digest() for member in range(3)]
KEYS = [bytes(SigningKey(seed).verify_key) for seed in SEEDS]


def mesh_with(member: int, address: str) -> Mesh:
    peers = {member: PeerAddress(KEYS[member], address)}
    return Mesh(identity_seed=SEEDS[1], me=1, peers=peers, listen=LOOPBACK)


async def test_a_libp2p_host_dials_us() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            mesh = mesh_with(0, LOOPBACK)
            await nursery.start(mesh.run)
            host = new_host(key_pair=create_new_key_pair(SEEDS[0]))
            async with host.run(listen_addrs=[]):
                us = peer_id_of(KEYS[1])
                address = Multiaddr(f"{mesh.listen_address}/p2p/{us}")
                await host.connect(info_from_p2p_addr(address))
                stream = await host.new_stream(us, [COMMITTEE_PROTOCOL])
                await stream.write(b"\0\0\0\4vote")
                assert await mesh.receive() == (0, b"vote")
                await stream.write((400_000).to_bytes(4, "big") + bytes(400_000))
                assert await mesh.receive() == (0, bytes(400_000))
                await host.disconnect(us)  # it would leave its socket open at the end
                nursery.cancel_scope.cancel()


async def test_we_dial_a_libp2p_host() -> None:
    async def echo(stream: NetStream) -> None:
        while True:
            data = await stream.read(65_536)
            if data.strip(b"\0"):
                await stream.write(data)

    with trio.fail_after(30):
        host = new_host(key_pair=create_new_key_pair(SEEDS[2]))
        host.set_stream_handler(TProtocol(COMMITTEE_PROTOCOL), echo)
        async with host.run(listen_addrs=[Multiaddr(LOOPBACK)]), trio.open_nursery() as nursery:
            mesh = mesh_with(2, str(host.get_transport_addrs()[0]))
            await nursery.start(mesh.run)
            while not mesh.send(2, b"vote"):  # noqa: ASYNC110 -- it has no event
                await trio.sleep(0.01)
            assert await mesh.receive() == (2, b"vote")
            nursery.cancel_scope.cancel()
