"""Which observations came here for a view, and which of them the leader must have had in time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

VIEWS_KEPT = 32
"""A block that becomes final later than this many views is not accounted."""

WINDOW = 2
"""Observations for views further away than this are not kept."""

PROPOSALS_MAX = 4
"""A leader that proposes more than so many blocks in a view has the others not accounted."""


@dataclass(slots=True)
class _View:
    entered_ms: int | None = None
    observations: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """(arrival, body) by member."""
    proposals: dict[bytes, int] = field(default_factory=dict)
    """Arrival by block id."""
    sent: bool = False


class Arrivals:
    """What one node saw of the newest views, with times of its monotonic clock in milliseconds.

    *In time* is what this node would have taken itself, had it led the view, with half the grace
    to spare: what came before half the grace had passed since this node was in the view and held a
    quorum's observations. If it was so far only after the proposal came, it is what came half the
    grace before that. A leader that follows the protocol waits its whole grace for a member that it
    heard lately, so it leaves such an observation out only if that took at least half the grace
    longer to the leader than to this node.
    """

    def __init__(self, quorum: int, grace_ms: int) -> None:
        self._quorum = quorum
        self._grace_ms = grace_ms
        self._views: dict[int, _View] = {}
        self._current = 0
        self._gave_up = 0

    def entered(self, view: int, by_timeout: bool, now_ms: int) -> None:
        """Note that this node is in a view from now on."""
        if view <= self._current:
            return
        self._current = view
        for old in [kept for kept in self._views if kept <= view - VIEWS_KEPT]:
            del self._views[old]
        entered = self._views.setdefault(view, _View())
        entered.entered_ms = now_ms
        if by_timeout and self._gave_up < view - 1:
            # Whoever timed out observes afresh, and what came before does not count.
            entered.observations.clear()

    def gave_up(self, view: int) -> None:
        """Note that this node timed out: what was observed for the next view is too old."""
        if view > self._gave_up:
            self._gave_up = view
            if view + 1 in self._views:
                self._views[view + 1].observations.clear()

    def sent(self, view: int) -> None:
        """Note that this node's own observation for a view went out."""
        if abs(view - self._current) <= WINDOW:
            self._views.setdefault(view, _View()).sent = True

    def was_sent(self, view: int) -> bool:
        """Tell whether this node's own observation for a view went out."""
        return view in self._views and self._views[view].sent

    def heard(self, view: int, member: int, body: bytes, now_ms: int) -> None:
        """Note a member's observation; a newer one of the same view replaces it."""
        if abs(view - self._current) > WINDOW:
            return
        observations = self._views.setdefault(view, _View()).observations
        if member not in observations or observations[member][1] != body:
            observations[member] = (now_ms, body)

    def proposed(self, view: int, block_id: bytes, now_ms: int) -> None:
        """Note that a block came from its leader while its view was on."""
        if abs(view - self._current) <= WINDOW:
            proposals = self._views.setdefault(view, _View()).proposals
            if len(proposals) < PROPOSALS_MAX:
                proposals.setdefault(block_id, now_ms)

    def in_time(self, view: int, block_id: bytes) -> Mapping[int, bytes] | None:
        """Return the bodies by member that came in time; None if the view was not seen live."""
        seen = self._views.get(view)
        if seen is None or seen.entered_ms is None or block_id not in seen.proposals:
            return None
        last_ms = self._last_ms(seen, seen.entered_ms, seen.proposals[block_id])
        return {
            member: body
            for member, (at_ms, body) in sorted(seen.observations.items())
            if at_ms <= last_ms
        }

    def _last_ms(self, seen: _View, entered_ms: int, proposed_ms: int) -> int:
        arrivals = sorted(at_ms for at_ms, _ in seen.observations.values())
        if len(arrivals) >= self._quorum:
            ready_ms = max(entered_ms, arrivals[self._quorum - 1])
            if ready_ms < proposed_ms:
                return ready_ms + self._grace_ms // 2
        # This node was behind; a leader that leaves somebody out had waited its grace by then.
        return proposed_ms - self._grace_ms // 2


__all__ = ["VIEWS_KEPT", "Arrivals"]
