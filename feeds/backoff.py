"""How long to wait before the next try: exponential with full jitter."""

from dataclasses import dataclass
from random import Random

_EXPONENT_MAX = 16


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits drawn evenly from [0, min(cap, base · 2^failures)], in seconds.

    Full jitter spreads the members of a committee, which all lose an exchange at one instant.
    """

    base_s: float
    cap_s: float

    def wait_s(self, failures: int, rng: Random) -> float:
        """Return the wait after so many failures in a row; 0 failures draw from [0, base]."""
        ceiling = min(self.cap_s, self.base_s * 2 ** min(failures, _EXPONENT_MAX))
        return rng.uniform(0, ceiling)
