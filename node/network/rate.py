"""A token bucket on a clock that the caller reads."""


class TokenBucket:
    """Allows `burst` at once and `rate` a second in the long run."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` tokens at time `now` (seconds); False, taking none, if there are fewer."""
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
        if amount > self._level:
            return False
        self._level -= amount
        return True
