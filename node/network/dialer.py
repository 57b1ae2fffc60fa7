"""When to dial again: full jitter, so that members that lost each other do not return in step.

The scheme is "Full Jitter" of M. Brooker, "Exponential Backoff And Jitter", AWS 2015.
"""

from random import Random


class Redial:
    """The pauses between one member's dials."""

    __slots__ = ("_failures", "_random", "_seconds_max", "_seconds_min")

    def __init__(self, seconds_min: float, seconds_max: float, random: Random) -> None:
        self._seconds_min = seconds_min
        self._seconds_max = seconds_max
        self._random = random
        self._failures = 0

    def succeeded(self) -> None:
        """Begin with short pauses again."""
        self._failures = 0

    def pause(self) -> float:
        """Return how many seconds to wait before the next dial."""
        ceiling = min(self._seconds_max, self._seconds_min * 2 ** min(self._failures, 32))
        self._failures += 1
        return self._random.uniform(0, ceiling)
