"""A member of a committee of two in a process of its own; sends every frame back.

Arguments: the identity seed (hex) and key of the other member (hex), and where to listen. Prints
the address once it listens.
"""

import sys

import trio

from node.network.address import PeerAddress
from node.network.mesh import Mesh


async def main(seed: str, other: str, listen: str) -> None:
    peers = {0: PeerAddress(bytes.fromhex(other), listen)}
    mesh = Mesh(identity_seed=bytes.fromhex(seed), me=1, peers=peers, listen=listen)
    async with trio.open_nursery() as nursery:
        await nursery.start(mesh.run)
        sys.stdout.write(mesh.listen_address + "\n")
        sys.stdout.flush()
        while True:
            member, frame = await mesh.receive()
            mesh.send(member, frame)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
