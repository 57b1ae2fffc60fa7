"""Sums over the last turns of a leader, in bounded memory."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

SEGMENT_TURNS = 64
SEGMENTS = 8
TURNS_KEPT = SEGMENT_TURNS * SEGMENTS
"""A window covers the last 449 to 512 turns of a leader: the oldest 64 are forgotten at once."""

_Key = TypeVar("_Key", bound=Hashable)


class Window(Generic[_Key]):
    """Sums of integers by key over the last turns of one leader."""

    def __init__(self) -> None:
        self._segments: deque[tuple[int, Counter[_Key]]] = deque()
        self._totals: Counter[_Key] = Counter()
        self._turns = 0

    @property
    def turns(self) -> int:
        """The number of turns that are covered."""
        return self._turns

    def add(self, numbers: Mapping[_Key, int]) -> None:
        """Add one turn's numbers."""
        if not self._segments or self._segments[-1][0] == SEGMENT_TURNS:
            if len(self._segments) == SEGMENTS:
                turns, sums = self._segments.popleft()
                self._turns -= turns
                for key, number in sums.items():
                    self._totals[key] -= number
                    if not self._totals[key]:
                        del self._totals[key]
            self._segments.append((0, Counter()))
        turns, sums = self._segments[-1]
        self._segments[-1] = (turns + 1, sums)
        self._turns += 1
        for key, number in numbers.items():
            if number:
                sums[key] += number
                self._totals[key] += number

    def nonzero(self) -> Iterable[_Key]:
        """Return the keys whose sums are not zero."""
        return [key for key, number in self._totals.items() if number]

    def total(self, key: _Key) -> int:
        """Return the sum for a key."""
        return self._totals[key]


__all__ = ["TURNS_KEPT", "Window"]
