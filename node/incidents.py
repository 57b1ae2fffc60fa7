"""What happened lately that an onlooker should know: changes of feeds' statuses, alarms."""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

STATUS_CHANGES_KEPT: Final = 128
ALARMS_KEPT: Final = 64

Kind = Literal["feed_status", "fairness_alarm", "fairness_ended"]


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that happened; what does not apply is empty. `at_ms` is Unix time.

    A change of status has the report's observation time, `before` and `status` with its `cause`;
    an alarm of fairness has its `alarm` and a `text` for people.
    """

    at_ms: int
    kind: Kind
    feed: str = ""
    before: str = ""
    status: str = ""
    cause: str = ""
    alarm: str = ""
    leader: str = ""
    member: str = ""
    text: str = ""


class IncidentLog:
    """The newest incidents of each sort, so that a flapping feed displaces no alarm."""

    def __init__(self) -> None:
        self._changes: deque[Incident] = deque(maxlen=STATUS_CHANGES_KEPT)
        self._alarms: deque[Incident] = deque(maxlen=ALARMS_KEPT)

    def add(self, incident: Incident) -> None:
        """Note an incident."""
        kept = self._changes if incident.kind == "feed_status" else self._alarms
        kept.append(incident)

    @property
    def newest(self) -> tuple[Incident, ...]:
        """All that are kept, newest first."""
        both = (*self._changes, *self._alarms)
        return tuple(sorted(both, key=lambda incident: incident.at_ms, reverse=True))
