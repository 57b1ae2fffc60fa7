"""An honest member whose frames to and from some others are lost: a network that is in parts.

`python -m testnet.personas.severed --config node.toml --parts FILE`: while FILE exists, it says
which members hear each other, as JSON: `[[0, 1], [2, 3]]`. Links stay up, and carry nothing.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from node.edges import Edges, Seat
from node.errors import OperatorError
from node.runtime import Network

Parts = tuple[tuple[int, ...], ...]


def write_parts(file: Path, parts: Parts) -> None:
    """Part a network, in one step for whoever reads."""
    written = file.with_suffix(".new")
    written.write_bytes(msgspec.json.encode(parts))
    written.replace(file)


def read_parts(file: Path) -> Parts:
    """Return the parts of a network; none if it is whole."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Parts)
    except FileNotFoundError:
        return ()


class SeveredNetwork:
    """`node.runtime.Network` on which frames between parts are lost."""

    def __init__(self, network: Network, me: int, file: Path) -> None:
        self._network = network
        self._me = me
        self._file = file

    def _reaches(self, member: int) -> bool:
        parts = read_parts(self._file)
        return not parts or any(self._me in part and member in part for part in parts)

    def send(self, member: int, frame: bytes) -> bool:
        """Queue a frame, or lose it."""
        return not self._reaches(member) or self._network.send(member, frame)

    async def receive_from(self, member: int) -> bytes:
        """Return the next frame that is not lost."""
        while True:
            frame = await self._network.receive_from(member)
            if self._reaches(member):
                return frame

    def drop(self, member: int, reason: str) -> None:
        """Break the link to a misbehaving member for a while."""
        self._network.drop(member, reason)

    def ask_successor(self, member: int) -> None:
        """Ask a member how this epoch ended, if it can be reached."""
        if self._reaches(member):
            self._network.ask_successor(member)


class Severable(Edges):
    """The edges of a member of a network that is parted now and then."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def network(self, seat: Seat, network: Network) -> Network:
        """Return a network that is as whole as the file says."""
        return SeveredNetwork(network, seat.me, self._file)


def main() -> int:
    """Run the node; exit status 1 for what an operator can mend."""
    parser = argparse.ArgumentParser(prog="python -m testnet.personas.severed", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--parts", type=Path, required=True)
    arguments = parser.parse_args()
    from node.config_file import load_config
    from node.daemon import run

    try:
        run(load_config(arguments.config), edges=Severable(arguments.parts))
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
