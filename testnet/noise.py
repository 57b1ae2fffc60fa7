"""Seeded noise that is a pure function of time, so that every process computes the same."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import sqrt

_CACHED_POINTS = 256


def derive_seed(*parts: str | int) -> int:
    """Return a 128-bit seed for what `parts` name; other parts give an unrelated one."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")


def seeded_random(*parts: str | int) -> random.Random:
    """Return a generator of its own for what `parts` name."""
    return random.Random(derive_seed(*parts))


@dataclass(frozen=True, slots=True)
class Octave:
    """One layer of noise: independent values of size `sigma`, `period_ms` apart."""

    period_ms: int
    sigma: float


class SmoothNoise:
    """A stationary, continuous random function of time: a sum of octaves.

    Within an octave the values between two points are eased from one to the other, so that the
    function never jumps, however long or short ago it was asked last.
    """

    def __init__(self, name: str, seed: int, octaves: Sequence[Octave]) -> None:
        self._key = derive_seed(name, seed).to_bytes(16, "big")
        self._octaves = tuple(octaves)
        self._points: list[dict[int, float]] = [{} for _ in self._octaves]

    def at(self, time_ms: int) -> float:
        """Return the value at `time_ms`, which may be any integer."""
        total = 0.0
        for layer, octave in enumerate(self._octaves):
            index, offset_ms = divmod(time_ms, octave.period_ms)
            points = self._points[layer]
            here = points.get(index)
            if here is None:
                here = self._point(layer, index)
            there = points.get(index + 1)
            if there is None:
                there = self._point(layer, index + 1)
            fraction = offset_ms / octave.period_ms
            eased = fraction * fraction * (3.0 - 2.0 * fraction)
            total += octave.sigma * (here + (there - here) * eased)
        return total

    def _point(self, layer: int, index: int) -> float:
        """Return an almost normal value (four uniform ones summed), within 3.5 sigma."""
        text = b"%d:%d" % (self._octaves[layer].period_ms, index)
        digest = blake2b(text, key=self._key, digest_size=16).digest()
        total = sum(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4))
        value = (total / 2**32 - 2.0) * sqrt(3.0)
        points = self._points[layer]
        if len(points) >= _CACHED_POINTS:
            points.clear()
        points[index] = value
        return value
