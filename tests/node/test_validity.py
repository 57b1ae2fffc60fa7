"""An operator hears of a configuration's end long before it, and not at every look."""

import pytest
import structlog

from node.validity import DAY_MS, Reminder, days_left, warning_of

END_MS = 1_900_000_000_000


@pytest.mark.parametrize(
    ("days_before", "expected"),
    [
        (31, None),
        (29, "epoch 3 ends in 29 days, on 2030-03-17 17:46 UTC"),
        (1, "epoch 3 ends in 24 hours"),
        (-1, "the network is over"),
    ],
)
def test_the_end_is_announced_a_month_before(days_before: int, expected: str | None) -> None:
    warning = warning_of(3, END_MS, END_MS - days_before * DAY_MS)
    assert warning is None if expected is None else warning is not None and expected in warning
    assert days_left(END_MS, END_MS - days_before * DAY_MS) == days_before


def test_a_far_end_is_no_fault() -> None:
    assert warning_of(0, 2**63 - 1, END_MS) is None
    assert warning_of(0, 0, 2**62) is not None


def test_the_log_says_it_at_once_daily_and_louder_in_the_last_week() -> None:
    reminder = Reminder()
    with structlog.testing.capture_logs() as logs:
        for half_day in range(2 * 30 + 1):
            now_ms = END_MS - 30 * DAY_MS + half_day * DAY_MS // 2
            assert reminder.look(1, END_MS, now_ms) == warning_of(1, END_MS, now_ms)
        # Another epoch has its own.
        assert reminder.look(2, END_MS + DAY_MS, END_MS) is not None
        assert reminder.look(3, END_MS + 90 * DAY_MS, END_MS) is None
    levels = [entry["log_level"] for entry in logs]
    assert len(levels) == 32
    assert levels == sorted(levels, reverse=True)
    assert {"warning", "error"} == set(levels)
