"""Whose observations a leader takes, and when it has left out one member's too often.

The alarms are cumulative sums (Page, "Continuous inspection schemes", Biometrika 1954): a score
rises with each omission and falls with each inclusion, never below 0, and alarms at a limit. So it
needs no history, and a leader that begins to censor is found as soon after years as at once.
"""

from collections.abc import Collection
from typing import Final

from node.fairness.window import Window

TURNS_TO_ALARM: Final = 24
"""A leader that always leaves a member out is found in so many of its turns, others being fair."""

OMITTED: Final = 4
INCLUDED: Final = 1
ELSEWHERE: Final = 8
"""What the other leaders' omissions of the member in between weigh, all of them together.

Twice `OMITTED`: a leader is suspicious only if it leaves a member out more than twice as often as
the others do. If they all do, the reason is with the member and its way to the network.
"""

OWN_BLOCKS_TO_ALARM: Final = 48


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
        self._unit = max(1, n - 2)
        self.limit = TURNS_TO_ALARM * OMITTED * self._unit
        self._scores = {
            (leader, member): 0 for member in self.judged for leader in range(n) if leader != member
        }
        self._own_score = 0
        self._included = [Window[int]() for _ in range(n)]
        self._omitted = [Window[int]() for _ in range(n)]
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
        self._omitted[leader].add(dict.fromkeys(omitted, 1))
        for member in self.judged:
            if member != leader and member in included:
                self._move(leader, member, -INCLUDED * self._unit)
        for member in omitted:
            self._move(leader, member, OMITTED * self._unit)
            for other in range(self.n):
                if other not in (leader, member):
                    self._move(other, member, -ELSEWHERE)
        if self.me is not None and leader != self.me:
            step = -1 if self.me in included else 1
            self._own_score = min(max(self._own_score + step, 0), OWN_BLOCKS_TO_ALARM)
            if self._own_score == OWN_BLOCKS_TO_ALARM:
                self.own_left_out = True
            elif self._own_score == 0:
                self.own_left_out = False

    def _move(self, leader: int, member: int, step: int) -> None:
        pair = (leader, member)
        score = min(max(self._scores[pair] + step, 0), self.limit)
        self._scores[pair] = score
        if score == self.limit:
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
        """Return a judged pair's score; the alarm is at `limit`."""
        return self._scores[leader, member]


__all__ = ["OWN_BLOCKS_TO_ALARM", "TURNS_TO_ALARM", "Inclusion"]
