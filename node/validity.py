"""How long the configuration in office is still valid, and when an operator must be told.

After it contracts take no report and members vote for none, so the network has ended: the next
epoch must be decided before.
"""

from datetime import UTC, datetime
from typing import Final

import structlog

DAY_MS: Final = 86_400_000
WARN_DAYS: Final = 30
ALARM_DAYS: Final = 7
REMIND_MS: Final = DAY_MS

_log = structlog.get_logger("node.validity")


def days_left(valid_until_ms: int, now_ms: int) -> float:
    """Return for how many days a configuration is still valid, to a tenth; below 0 it is over."""
    return round((valid_until_ms - now_ms) / DAY_MS, 1)


def day_of(time_ms: int) -> str:
    """Return a Unix time (ms) as a date and a minute in UTC, as a number if it is too far off."""
    try:
        return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def warning_of(epoch: int, valid_until_ms: int, now_ms: int) -> str | None:
    """Return what to tell an operator of a configuration's end; None while it is far off."""
    left_ms = valid_until_ms - now_ms
    if left_ms > WARN_DAYS * DAY_MS:
        return None
    if left_ms < 0:
        return (
            f"the configuration of epoch {epoch} ended on {day_of(valid_until_ms)}: no member "
            "votes any more and no contract takes a report; the network is over"
        )
    hours = left_ms // 3_600_000
    left = f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
    return (
        f"the configuration of epoch {epoch} ends in {left}, on {day_of(valid_until_ms)}, and the "
        "network with it: decide the next one before (`didyma committee create`)"
    )


class Reminder:
    """Logs the warning of the configuration in office at once, and again every day."""

    def __init__(self) -> None:
        self._epoch = -1
        self._said_ms = 0

    def look(self, epoch: int, valid_until_ms: int, now_ms: int) -> str | None:
        """Return the warning if there is one; log it when it is due."""
        warning = warning_of(epoch, valid_until_ms, now_ms)
        if warning is None:
            return None
        if epoch != self._epoch or now_ms - self._said_ms >= REMIND_MS:
            self._epoch, self._said_ms = epoch, now_ms
            urgent = valid_until_ms - now_ms < ALARM_DAYS * DAY_MS
            say = _log.error if urgent else _log.warning
            say(
                "configuration.ends",
                epoch=epoch,
                days_left=days_left(valid_until_ms, now_ms),
                advice=warning,
            )
        return warning
