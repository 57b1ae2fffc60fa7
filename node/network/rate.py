"""Token buckets on a clock that the caller reads."""

from collections.abc import Hashable
from typing import Generic, TypeVar

_Peer = TypeVar("_Peer", bound=Hashable)


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


class PeerBuckets(Generic[_Peer]):
    """A bucket of the same rate for each peer that was heard of."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._of: dict[_Peer, TokenBucket] = {}

    def take(self, peer: _Peer, now: float) -> bool:
        """Take one of a peer's tokens at time `now` (seconds); False if there is none."""
        bucket = self._of.get(peer)
        if bucket is None:
            bucket = self._of[peer] = TokenBucket(self._rate, self._burst, now)
        return bucket.take(1, now)

    def forget(self, peer: _Peer) -> None:
        """Forget a peer that is gone."""
        self._of.pop(peer, None)
