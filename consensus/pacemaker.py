"""Which view a member is in, and how long it waits there."""

from consensus.types import View

BACK_OFF_MAX = 8
"""A timeout is never longer than this many base timeouts."""


class Pacemaker:
    """The current view, only ever forwards, and how many views ended without a QC of late.

    Two QCs in a row end the back-off, as two in a row make a commit: were one enough, a network
    slower than the base timeout would see every other view fail and nothing ever become final.
    """

    def __init__(self, base_timeout_ms: int) -> None:
        self._base_timeout_ms = base_timeout_ms
        self._failures = 0
        self._by_timeout = False
        self.view = View(0)

    def enter(self, view: int, by_timeout: bool) -> bool:
        """Move to a view; False, and nothing changes, unless it is later than the current one."""
        if view <= self.view:
            return False
        self.view = View(view)
        if by_timeout:
            self._failures += 1
        elif not self._by_timeout:
            self._failures = 0
        self._by_timeout = by_timeout
        return True

    def timeout_ms(self) -> int:
        """Return base · min(1.5^failures, 8), rounded down."""
        # 1.5^6 > 8, so larger exponents need not be computed.
        exponent = min(self._failures, 6)
        grown: int = self._base_timeout_ms * 3**exponent // 2**exponent
        return min(grown, self._base_timeout_ms * BACK_OFF_MAX)
