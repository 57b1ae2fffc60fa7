"""Sources that stand still while the same pair's other venues move."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from feeds.source import Source

_NS_PER_S = 1_000_000_000
_PPM = 1_000_000
_HELD_S = 20
_MOVED_PPM = 500
_SIBLINGS_MIN = 2


@dataclass(slots=True)
class _Group:
    """The sources of one pair, and each one's view of the others when its own book changed last."""

    sources: list[Source] = field(default_factory=list)
    changed_ns: list[int] = field(default_factory=list)
    references: list[Sequence[int]] = field(default_factory=list)


class FrozenWatch:
    """Finds the sources whose book has not moved for long, while most of its siblings' have.

    A rest alone says nothing, for a market may rest; it counts when two thirds of the other venues
    of the very pair, and at least two, have left in one direction by more than `_MOVED_PPM` and
    the source's own spread.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}
        for source in sources:
            group = self._groups.setdefault((source.base, source.quote), _Group())
            group.sources.append(source)
            group.changed_ns.append(-1)
            group.references.append(())

    def look(self, now_ns: int) -> list[tuple[Source, str]]:
        """Return the sources that turned out to be frozen since, with the reason."""
        found = []
        for group in self._groups.values():
            middles = [_middle(source, now_ns) for source in group.sources]
            for index, source in enumerate(group.sources):
                if source.changed_ns != group.changed_ns[index]:
                    group.changed_ns[index] = source.changed_ns
                    group.references[index] = middles
                elif source.frozen is None and middles[index]:
                    held_s = (now_ns - source.changed_ns) // _NS_PER_S
                    if held_s >= _HELD_S:
                        reason = _left_behind(source, index, group.references[index], middles)
                        if reason is not None:
                            found.append((source, f"the same price for {held_s} s, while {reason}"))
        return found


def _middle(source: Source, now_ns: int) -> int:
    """Return twice the middle of a fresh book, 0 if it cannot be compared."""
    newest = source.newest
    if newest is None or source.frozen is not None or not 0 < newest.bid <= newest.ask:
        return 0
    return newest.bid + newest.ask if source.is_fresh(now_ns) else 0


def _left_behind(source: Source, index: int, then: Sequence[int], now: Sequence[int]) -> str | None:
    newest = source.newest
    assert newest is not None
    spread_ppm = (newest.ask - newest.bid) * _PPM // newest.bid
    limit_ppm = max(_MOVED_PPM, spread_ppm)
    moves_ppm = [
        (after - before) * _PPM // before
        for place, (before, after) in enumerate(zip(then, now, strict=True))
        if place != index and before and after
    ]
    up = sum(move > limit_ppm for move in moves_ppm)
    down = sum(move < -limit_ppm for move in moves_ppm)
    left = max(up, down)
    if left < _SIBLINGS_MIN or 3 * left < 2 * len(moves_ppm):
        return None
    return f"{left} of {len(moves_ppm)} other venues moved by more than {limit_ppm} ppm"
