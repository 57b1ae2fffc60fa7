"""Low medians: always an element of what they are taken of, never a mean."""

from collections.abc import Iterable, Sequence


def low_median(values: Sequence[int]) -> int:
    """Return element (k-1)//2 of the sorted values.

    Of at least 2f+1 values, f of which are arbitrary, it lies between two of the others.
    """
    assert values
    return sorted(values)[(len(values) - 1) // 2]


def low_weighted_median(weighted: Iterable[tuple[int, int]]) -> int:
    """Return the smallest value up to which at least half of the weight lies.

    Takes (value, weight) pairs. Values that hold less than half of the weight together never move
    the result out of the range of the others.
    """
    ordered = sorted(weighted)
    total = sum([weight for _, weight in ordered])
    assert total > 0
    reached = 0
    for value, weight in ordered:
        reached += weight
        if 2 * reached >= total:
            return value
    raise AssertionError("a sum of non-negative weights reaches its half")
