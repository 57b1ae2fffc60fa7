"""A call of the Oracle that this node would pay for."""

from dataclasses import dataclass
from enum import StrEnum

from node.publisher.triggers import Due


class Step(StrEnum):
    """What brings an Oracle nearer to the next epoch."""

    REGISTRATION = "registration"
    HANDOVER = "handover"


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent, why, and the gas that it may use; `view` is that of a report that is pushed."""

    purpose: Due | Step
    calldata: bytes
    gas: int
    view: int | None = None

    @property
    def facts(self) -> dict[str, object]:
        """What a log line says of it."""
        if isinstance(self.purpose, Step):
            return {"step": self.purpose.value}
        return {
            "trigger": self.purpose.trigger.value,
            "feed": self.purpose.feed,
            "view": self.view,
        }
