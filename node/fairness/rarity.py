"""How rarely a score accuses whoever is not at fault, and what follows for every limit.

A score is the logarithm of a product of factors: above 1 for what speaks against a leader, below 1
for what speaks for it, and over one turn of each leader at most 1 on average, whatever came before,
as long as nobody is at fault. It begins anew wherever it would fall below 0. So it never exceeds
the logarithm of R' = (R + 1) · factor, and R less the sum of its mean factors is a supermartingale:
the mean number of turns until a score first reaches `limit` is at least e^limit ÷ `FACTOR_MAX`
(Page, Biometrika 1954; Lorden, Ann. Math. Stat. 1971; for averages in the place of distributions
Shin, Ramdas and Rinaldo, "E-detectors", 2023). Nothing need be known of how delays are distributed.

Scores are integers in millionths of a nat, each step rounded down.
"""

from math import ceil, floor, log
from typing import Final

VIEWS_PER_YEAR: Final = 4 * 31_557_600
"""At four rounds a second."""

YEARS: Final = 100
"""A node falsely accuses a leader once in so many years at the most, for each kind of alarm."""

FACTOR_MAX: Final = 2.0
"""No single turn speaks more loudly against a leader."""

_UNIT: Final = 1_000_000


def score_of(factor: float) -> int:
    """Return what a factor adds to a score."""
    assert 0 < factor <= FACTOR_MAX
    return floor(_UNIT * log(factor))


SCORE_MAX: Final = ceil(_UNIT * log(YEARS * VIEWS_PER_YEAR * FACTOR_MAX))
"""The score at which an alarm is raised.

Of n leaders each has one turn in n, in which fewer than n members are judged, or two sides of a
price: for each leader that makes at most `VIEWS_PER_YEAR` steps a year.
"""


def turns_to_alarm(score: int) -> int:
    """Return how many turns that each add so much raise an alarm."""
    return -(-SCORE_MAX // score)


__all__ = ["FACTOR_MAX", "SCORE_MAX", "VIEWS_PER_YEAR", "YEARS", "score_of", "turns_to_alarm"]
