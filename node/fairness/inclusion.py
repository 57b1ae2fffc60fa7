"""Whose observations a leader takes, and when it has left out one member's too often.

The alarms are cumulative sums, so they need no history, and a leader that begins to censor is found
as soon after years as at once. What they promise, and why, stands in `rarity.py`.
"""

from collections.abc import Collection
from functools import cache
from math import log
from typing import Final

from node.fairness.rarity import FACTOR_MAX, SCORE_MAX, score_of, turns_to_alarm
from node.fairness.window import Window

CHANCE: Final = 0.08
"""A fair leader leaves out what came in time in so many of its turns, ..."""

RATIO: Final = 1.5
"""... and this times as often as the other leaders leave out the same member, at the most.

If they all do, the reason is with the member and its way to the network.
"""

_INCLUDED: Final = 0.87
_ALLOWED_MAX: Final = 0.45
_ALL: Final = -1
"""Stands for all members in a window."""
OMITTED: Final = score_of(FACTOR_MAX)
INCLUDED: Final = score_of(_INCLUDED)

TURNS_TO_ALARM: Final = turns_to_alarm(OMITTED)
"""A leader that always leaves a member out is found in so many of its turns, others being fair."""

OWN_BLOCKS_TO_ALARM: Final = 48
"""So many more blocks without this node's observation than with it.

With at most three in eight missing by chance, this is as rare as the other alarms: each step has
the factor 5/3 or 3/5.
"""


@cache
def elsewhere(others: int) -> int:
    """Return what one more omission by one of so many other leaders adds to a leader's score.

    The smallest debit with which fair leaders' factors are at most 1 on average over a turn of
    each, however often a member is left out. With a factor 1 - k for an omission, and the others
    leaving out the member in a share x of their turns, the logarithm of that average,
    log(b + (a - b)(`CHANCE` + `RATIO` x)) + others · log(1 - kx), is concave in x.
    """
    if others < 1:
        return 0
    included = _INCLUDED
    base = included + (FACTOR_MAX - included) * CHANCE
    slope = (FACTOR_MAX - included) * RATIO
    certain = (1 - CHANCE) / RATIO

    def holds(k: float) -> bool:
        worst = (slope - others * k * base) / (k * slope * (1 + others))
        x = min(max(worst, 0.0), certain)
        return log(base + slope * x) + others * log(1 - k * x) <= 0

    low, high = 0.0, 0.999
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return score_of(1 - high)


class Inclusion:
    """The accounts of one epoch, of which members' observations stood in which leaders' blocks.

    In small committees, where observations go to everyone, each pair of a leader and a member is
    judged. In large ones a node knows only of its own observations and of what is in blocks.
    """

    def __init__(self, n: int, me: int | None, *, small: bool) -> None:
        self.n = n
        self.me = me
        self.judged: tuple[int, ...] = tuple(range(n)) if small else ()
        if not small and me is not None:
            self.judged = (me,)
        self._elsewhere = elsewhere(n - 2)
        self._scores = {
            (leader, member): 0 for member in self.judged for leader in range(n) if leader != member
        }
        self._own_score = 0
        self._included = [Window[int]() for _ in range(n)]
        self._omitted = [Window[int]() for _ in range(n)]
        self._judged = [Window[int]() for _ in range(n)]
        self.left_out: set[tuple[int, int]] = set()
        """(leader, member) for which an alarm is on."""
        self.own_left_out = False
        """Whether most leaders' blocks lack this node's own observations, sent in time or not."""

    def account(self, leader: int, included: Collection[int], in_time: Collection[int]) -> None:
        """Account one final block, which was seen live.

        `in_time` are the members whose observations the leader must have had in time.
        """
        omitted = [m for m in self.judged if m in in_time and m not in included and m != leader]
        self._included[leader].add(dict.fromkeys(included, 1))
        self._omitted[leader].add(dict.fromkeys(omitted, 1) | {_ALL: len(omitted)})
        self._judged[leader].add({_ALL: sum(m in in_time for m in self.judged if m != leader)})
        credit = self._credit(leader)
        for member in self.judged:
            if member != leader and member in included:
                self._move(leader, member, credit)
        for member in omitted:
            self._move(leader, member, OMITTED)
            for other in range(self.n):
                if other not in (leader, member):
                    self._move(other, member, self._elsewhere)
        if self.me is not None and leader != self.me:
            step = -1 if self.me in included else 1
            self._own_score = min(max(self._own_score + step, 0), OWN_BLOCKS_TO_ALARM)
            if self._own_score == OWN_BLOCKS_TO_ALARM:
                self.own_left_out = True
            elif self._own_score == 0:
                self.own_left_out = False

    def _credit(self, leader: int) -> int:
        """Return what an inclusion adds to a leader's scores.

        Where delays exceed the grace fair leaders leave out more than `CHANCE`, not alike of all
        members: `RATIO` times the share that the others leave out, of all members, is allowed too.
        What this node leads itself says nothing: it leaves out nothing that it has.
        """
        others = [one for one in range(self.n) if one not in (leader, self.me)]
        omitted = sum(self._omitted[one].total(_ALL) for one in others)
        judged = sum(self._judged[one].total(_ALL) for one in others)
        allowed = min(CHANCE + RATIO * (omitted + 1) / (judged + 12), _ALLOWED_MAX)
        return score_of(min(_INCLUDED, (1 - FACTOR_MAX * allowed) / (1 - allowed)))

    def _move(self, leader: int, member: int, step: int) -> None:
        pair = (leader, member)
        score = min(max(self._scores[pair] + step, 0), SCORE_MAX)
        self._scores[pair] = score
        if score == SCORE_MAX:
            self.left_out.add(pair)
        elif score == 0:
            self.left_out.discard(pair)

    def turns(self, leader: int) -> int:
        """Return how many of a leader's final blocks the window covers."""
        return self._included[leader].turns

    def included(self, leader: int, member: int) -> int:
        """Return in how many of these the member's observation stood."""
        return self._included[leader].total(member)

    def omitted(self, leader: int, member: int) -> int:
        """Return in how many of these it was missing although it had come in time."""
        return self._omitted[leader].total(member)

    def score(self, leader: int, member: int) -> int:
        """Return a judged pair's score; the alarm is at `SCORE_MAX`."""
        return self._scores[leader, member]


__all__ = ["CHANCE", "OWN_BLOCKS_TO_ALARM", "RATIO", "TURNS_TO_ALARM", "Inclusion", "elsewhere"]
