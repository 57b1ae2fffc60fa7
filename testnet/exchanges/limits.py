"""How often clients may do something: a number of times within a window."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` times within `window_s` seconds."""

    most: int
    window_s: float


class Counter:
    """Counts against a limit; `clients` that share an address have it each."""

    def __init__(self, limit: Limit, clients: int) -> None:
        self._most = limit.most * clients
        self._window_s = limit.window_s
        self._times_s: deque[float] = deque()

    def wait_s(self, now_s: float) -> float:
        """Count once and return 0, or return after how long it would be allowed."""
        while self._times_s and now_s - self._times_s[0] >= self._window_s:
            self._times_s.popleft()
        if len(self._times_s) >= self._most:
            return self._window_s - (now_s - self._times_s[0])
        self._times_s.append(now_s)
        return 0.0
