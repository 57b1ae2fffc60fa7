"""How far an exchange's clock leads this machine's, as far as its stamps tell."""

from collections import deque

_NS_PER_MS = 1_000_000
_EVERY_NS = 100 * _NS_PER_MS
_KEPT = 129
_NEEDED = 16


class ClockOffset:
    """The median of stamp minus arrival over the newest samples, taken at most ten times a second.

    A stamp is older than its arrival by the way it came: of two clocks that agree the offset is
    that lag, negative. A lead is therefore a wrong clock, there or here, never the network.
    """

    def __init__(self, lead_max_ms: int) -> None:
        self._lead_max_ms = lead_max_ms
        self._samples_ms: deque[int] = deque(maxlen=_KEPT)
        self._sampled_ns = -_EVERY_NS
        self.offset_ms: int | None = None
        self.lead_ms = 0
        """By how much stamps are corrected: 0 while the exchange does not lead, and bounded."""

    def note(self, exchange_time_ms: int, unix_ms: int, now_ns: int) -> None:
        """Take a stamp that has just arrived into account."""
        if now_ns - self._sampled_ns < _EVERY_NS:
            return
        self._sampled_ns = now_ns
        samples = self._samples_ms
        samples.append(exchange_time_ms - unix_ms)
        self.offset_ms = sorted(samples)[len(samples) // 2]
        if len(samples) >= _NEEDED:
            self.lead_ms = max(0, min(self.offset_ms, self._lead_max_ms))
