"""What a publisher must know of each epoch whose reports an Oracle may hold."""

from dataclasses import dataclass

from aggregation.feed import FeedSpec


@dataclass(frozen=True, slots=True)
class EpochTerms:
    """The feeds of an epoch, its number of members, and this node's index; None if it is none."""

    epoch: int
    feeds: tuple[FeedSpec, ...]
    members: int
    me: int | None
