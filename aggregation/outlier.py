"""Which sources stand apart from the others: for health and alarms, never for the price."""

OUTLIER_MULTIPLE = 5
"""A source is an outlier beyond five robust standard deviations."""


def is_outlier(distance: int, deviation: int, floor: int, was_outlier: bool) -> bool:
    """Tell whether a source at this distance from the price is an outlier.

    `deviation` is the member's confidence; within `floor` nothing is an outlier, for a few sources
    are now and then as good as equal. One that was an outlier is taken back only within half
    the distance, so that it does not flicker.
    """
    limit = max(OUTLIER_MULTIPLE * deviation, floor)
    return 2 * distance > limit if was_outlier else distance > limit
