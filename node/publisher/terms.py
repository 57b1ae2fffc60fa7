"""What a publisher must know of each epoch whose reports an Oracle may hold."""

from dataclasses import dataclass

from aggregation.feed import FeedSpec
from node.publisher.succession import Succession


@dataclass(frozen=True, slots=True)
class EpochTerms:
    """The feeds of an epoch, its number of members, and this node's index; None if it is none.

    `succession` opens it on a chain, unless it is the first.
    """

    epoch: int
    feeds: tuple[FeedSpec, ...]
    members: int
    me: int | None
    succession: Succession | None = None
