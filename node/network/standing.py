"""Whether a member is welcome: the penalties it got, and how often it connects."""

from node.network.limits import Limits
from node.network.rate import TokenBucket


class Standing:
    """One member's standing. A penalty is twice as long as the one before, if that was recent."""

    __slots__ = (
        "_connections",
        "_limits",
        "_penalised_at",
        "_penalty_seconds",
        "penalties",
        "penalty_until",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connections = TokenBucket(
            limits.connections_per_second, limits.connections_burst, 0.0
        )
        self._penalty_seconds = 0.0
        self._penalised_at = float("-inf")
        self.penalties = 0
        self.penalty_until = float("-inf")

    def penalise(self, now: float) -> float:
        """Impose a penalty at time `now` and return how many seconds it lasts."""
        limits = self._limits
        if now - self._penalised_at > limits.penalty_memory_seconds:
            self._penalty_seconds = 0.0
        self._penalty_seconds = min(
            max(2 * self._penalty_seconds, limits.penalty_seconds_min),
            limits.penalty_seconds_max,
        )
        self._penalised_at = now
        self.penalties += 1
        self.penalty_until = now + self._penalty_seconds
        return self._penalty_seconds

    def refusal(self, now: float) -> str | None:
        """Return why an inbound connection is refused at time `now`, or None and count it."""
        if now < self.penalty_until:
            return f"it is under a penalty for another {self.penalty_until - now:.1f} s"
        if not self._connections.take(1, now):
            return "it connects too often"
        return None
