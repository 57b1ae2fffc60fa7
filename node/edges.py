"""What may stand between a member and the world, for whoever runs a node that is not as it should.

Neither the node nor its core knows why anybody would: a node as operators run it has plain `Edges`,
which change nothing. The testnet's Byzantine members are this node with other edges.
"""

from dataclasses import dataclass

from consensus.core import Checkpoint
from node.journal import Journal
from node.keys.key_set import KeySet
from node.running_epoch import RunningEpoch
from node.runtime import Events, Network, OwnObservation
from node.switchboard import Links


@dataclass(frozen=True, slots=True)
class Seat:
    """A member's place in one epoch: what it begins with, signs with and writes down.

    `links` are the committee's mesh below its epochs, see `node.switchboard`.
    """

    epoch: RunningEpoch
    me: int
    root: Checkpoint
    keys: KeySet
    journal: Journal
    links: Links


class Edges:
    """What a member observes, sends, receives and is told, as it is."""

    signs_beside = False
    """Whether the member's keys sign other things too, so that these are no sign of a copy."""

    def observation(self, own: OwnObservation) -> OwnObservation:
        """Return what is observed, before it is signed."""
        return own

    def network(self, seat: Seat, network: Network) -> Network:
        """Return the network of a member in one epoch."""
        return network

    def events(self, events: Events) -> Events:
        """Return who is told what the member does."""
        return events
