"""Whether a leader's choice of observations moves a feed's price to one side."""

from collections.abc import Sequence
from typing import Final

from aggregation.choice import Choice, choice
from aggregation.feed import PPM
from node.fairness.rarity import SCORE_MAX, score_of
from node.fairness.window import Window

CHANCE: Final = 0.1
"""A fair leader's choices lean to one side by so much on average, where 1 is always, ..."""

RATIO: Final = 2.0
"""... and by this times what the other leaders' choices to that side come to, at the most.

A member that all of them miss bends the price for all of them.
"""

_WEIGHT: Final = 0.9
LEAN_MAX_PPM: Final = 1_200_000
"""What is more is not counted, so that no choice alone says too much."""

_ELSEWHERE_MAX: Final = 0.6
"""Of four members; with fewer, of whom none may be faulty, alarms are less rare."""

TURNS_TO_ALARM: Final = 59
"""A leader that always takes the set with the lowest, or the highest, price is found in so many.

At n = 5, of the lowest; others are found sooner.
"""

HIGHER: Final = 1
LOWER: Final = -1


class Bias:
    """The accounts of one epoch: how far the leaders' choices moved each feed's price.

    A choice *leans* to a side by its rank, divided by the least that any choice could have had on
    the other side: -1 at worst, and 0 on average for whoever does not look at prices. For each
    leader, feed and side the score is that of the factors 1 + weight · (lean - chance) for its own
    choices and 1 - weight · ratio · lean / (n - 1) for the others' towards the side (`rarity.py`).
    Turns in which all prices were taken, or in which no choice could matter, change no score.
    """

    def __init__(self, n: int, faulty_max: int) -> None:
        self._n = n
        self._elsewhere = min(_WEIGHT * RATIO / max(1, n - 1), _ELSEWHERE_MAX)
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
            lean = min(made.lean_ppm(side), LEAN_MAX_PPM) / PPM
            self._move((leader, feed, side), score_of(1 + _WEIGHT * (lean - CHANCE)))
            if lean > 0:
                debit = score_of(1 - self._elsewhere * lean)
                for other in range(self._n):
                    if other != leader:
                        self._move((other, feed, side), debit)

    def _move(self, key: tuple[int, int, int], step: int) -> None:
        score = min(self._scores.get(key, 0) + step, SCORE_MAX)
        if score > 0:
            self._scores[key] = score
        else:
            self._scores.pop(key, None)
            self.biased.discard(key)
        if score == SCORE_MAX:
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

    def score(self, leader: int, feed: int) -> int:
        """Return the greater of the two sides' scores; the alarm is at `SCORE_MAX`."""
        return max(self._scores.get((leader, feed, side), 0) for side in (HIGHER, LOWER))


__all__ = ["CHANCE", "HIGHER", "LOWER", "RATIO", "TURNS_TO_ALARM", "Bias"]
