"""Which view a member is in, and how long it waits there."""

from consensus.types import View

BACK_OFF_MAX = 8
"""A timeout is never longer than this many base timeouts."""


class Pacemaker:
    """The current view, only ever forwards, and the views in a row that ended without a QC."""

    def __init__(self, base_timeout_ms: int) -> None:
        self._base_timeout_ms = base_timeout_ms
        self._failures = 0
        self.view = View(0)

    def enter(self, view: int, by_timeout: bool) -> bool:
        """Move to a view; False, and nothing changes, unless it is later than the current one."""
        if view <= self.view:
            return False
        self.view = View(view)
        self._failures = self._failures + 1 if by_timeout else 0
        return True

    def timeout_ms(self) -> int:
        """Return base · min(1.5^failures, 8), rounded down."""
        # 1.5^6 > 8, so larger exponents need not be computed.
        exponent = min(self._failures, 6)
        grown: int = self._base_timeout_ms * 3**exponent // 2**exponent
        return min(grown, self._base_timeout_ms * BACK_OFF_MAX)
