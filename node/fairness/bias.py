"""Whether a leader's choice of observations moves a feed's price to one side."""

from collections.abc import Sequence
from typing import Final

from aggregation.choice import Choice, choice
from node.fairness.window import Window

SLACK_PPM: Final = 125_000
"""What a score loses at each choice, so that choices without regard to prices do not add up."""

SCORE_MAX_PPM: Final = 5_000_000
"""The score at which an alarm is raised: 40 choices of the higher of two prices at n = 4."""

TURNS_TO_ALARM: Final = 67
"""A leader that always takes the set with the lowest, or the highest, price is found in so many."""

ELSEWHERE: Final = 2

HIGHER: Final = 1
LOWER: Final = -1


class Bias:
    """The accounts of one epoch: how far the leaders' choices moved each feed's price.

    For each leader, feed and side a cumulative sum of `Choice.rank_ppm`, less the slack, and less
    twice what the other leaders' choices to that side are on average: a member that all of them
    miss bends the price for all of them. Turns in which all prices were taken, or in which no
    choice could matter, change no score.
    """

    def __init__(self, n: int, faulty_max: int) -> None:
        self._n = n
        self._enough = 2 * faulty_max + 1
        self._windows = [Window[tuple[str, int]]() for _ in range(n)]
        self._scores: dict[tuple[int, int, int], int] = {}
        self.biased: set[tuple[int, int, int]] = set()
        """(leader, feed, side) for which an alarm is on."""

    def account(
        self, leader: int, included: Sequence[Sequence[int]], left_out: Sequence[Sequence[int]]
    ) -> None:
        """Account one final block: each observation's prices by feed, 0 where it has none.

        `left_out` are the observations that the leader must have had in time but did not take.
        """
        sums: dict[tuple[str, int], int] = {}
        if left_out:
            columns = zip(zip(*included, strict=True), zip(*left_out, strict=True), strict=True)
            for feed, (taken, others) in enumerate(columns):
                prices = [price for price in taken if price]
                made = choice(prices, [p for p in others if p]) if prices else None
                if made is None or len(prices) < self._enough:
                    continue
                self._judge(leader, feed, made)
                sums["choices", feed] = 1
                sums["shift", feed] = made.shift_ppb
                sums["higher", feed] = int(made.rank_ppm > 0)
                sums["lower", feed] = int(made.rank_ppm < 0)
        window = self._windows[leader]
        window.add(sums)
        self._forget(leader)

    def _judge(self, leader: int, feed: int, made: Choice) -> None:
        for side in (HIGHER, LOWER):
            towards = side * made.rank_ppm
            self._move((leader, feed, side), towards - SLACK_PPM)
            for other in range(self._n):
                if towards > 0 and other != leader:
                    self._move((other, feed, side), -ELSEWHERE * towards // (self._n - 1))

    def _move(self, key: tuple[int, int, int], step: int) -> None:
        score = min(self._scores.get(key, 0) + step, SCORE_MAX_PPM)
        if score > 0:
            self._scores[key] = score
        else:
            self._scores.pop(key, None)
            self.biased.discard(key)
        if score == SCORE_MAX_PPM:
            self.biased.add(key)

    def _forget(self, leader: int) -> None:
        """Drop the scores of feeds in which the leader has not chosen for a whole window."""
        window = self._windows[leader]
        mine = [key for key in self._scores if key[0] == leader]
        for key in mine:
            if not window.total(("choices", key[1])):
                del self._scores[key]
                self.biased.discard(key)

    def feeds(self, leader: int) -> list[int]:
        """Return the feeds in which a leader's choices mattered, in the window."""
        return sorted(feed for what, feed in self._windows[leader].nonzero() if what == "choices")

    def total(self, leader: int, what: str, feed: int) -> int:
        """Return a sum over the window: `choices`, `shift` (ppb), `higher` or `lower` (counts)."""
        return self._windows[leader].total((what, feed))

    def turns(self, leader: int) -> int:
        """Return how many of a leader's final blocks the window covers."""
        return self._windows[leader].turns

    def score_ppm(self, leader: int, feed: int) -> int:
        """Return the greater of the two sides' scores; the alarm is at `SCORE_MAX_PPM`."""
        return max(self._scores.get((leader, feed, side), 0) for side in (HIGHER, LOWER))


__all__ = ["HIGHER", "LOWER", "SCORE_MAX_PPM", "Bias"]
