"""The accounts as they are shown: immutable, with the names of members and feeds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaderShare:
    """What is in a leader's accounted blocks: how many blocks, and their observations together."""

    leader: str
    turns: int
    observations: int


@dataclass(frozen=True, slots=True)
class MemberShare:
    """In how many accounted blocks, of how many, a member's observation stands."""

    member: str
    blocks: int
    included: int


@dataclass(frozen=True, slots=True)
class Pair:
    """How often a leader included a member, and left it out although it had come in time.

    `score_ppm` is how near the alarm is: 1,000,000 raises it.
    """

    leader: str
    member: str
    included: int
    omitted: int
    score_ppm: int


@dataclass(frozen=True, slots=True)
class FeedShift:
    """How a leader's choices moved one feed's price.

    Of `turns` accounted turns the choice of observations mattered to the price in `choices`, and
    made it higher or lower than the middle of what was possible. `shift_ppb` is the sum of the
    distances from the low median of all, in parts per billion of it.
    """

    leader: str
    feed: str
    turns: int
    choices: int
    higher: int
    lower: int
    shift_ppb: int
    score_ppm: int

    @property
    def mean_ppm(self) -> float:
        """The mean shift of a turn, in parts per million; above 0 if prices became higher."""
        return self.shift_ppb / self.turns / 1000 if self.turns else 0.0


@dataclass(frozen=True, slots=True)
class FairnessAlarm:
    """An alarm that is on; what does not apply is empty."""

    kind: str
    leader: str
    member: str
    feed: str
    side: str
    text: str


@dataclass(frozen=True, slots=True)
class FairnessView:
    """All that is known: `judges_all` where observations go to everyone, so that all is judged."""

    judges_all: bool
    leaders: tuple[LeaderShare, ...]
    members: tuple[MemberShare, ...]
    pairs: tuple[Pair, ...]
    shifts: tuple[FeedShift, ...]
    alarms: tuple[FairnessAlarm, ...]
    raised: tuple[tuple[str, int], ...]
    """Alarms raised so far, by kind."""
