"""How many connections a venue may still open within its window."""

from collections import deque

from feeds.venue import ConnectLimit

_NS_PER_S = 1_000_000_000


class ConnectBudget:
    """Counts a venue's connects, of all its connections together, against its limit."""

    def __init__(self, limit: ConnectLimit) -> None:
        self._window_ns = round(limit.window_s * _NS_PER_S)
        self._connects_ns: deque[int] = deque(maxlen=limit.connects)

    def wait_s(self, now_ns: int) -> float:
        """Return how long the next connect must wait; 0 if it may be now."""
        if len(self._connects_ns) < (self._connects_ns.maxlen or 0):
            return 0
        return max(0, self._connects_ns[0] + self._window_ns - now_ns) / _NS_PER_S

    def spend(self, now_ns: int) -> None:
        """Count a connect."""
        self._connects_ns.append(now_ns)
