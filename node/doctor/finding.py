"""What one look found."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How good or bad a finding is; only `FAILED` keeps a node from its work."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One look: at what, how it came out, in words, and what to do about it."""

    topic: str
    grade: Grade
    said: str
    remedy: str = ""


def ok(topic: str, said: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(topic, Grade.OK, said)


def warning(topic: str, said: str, remedy: str) -> Finding:
    """Return a finding that a node can live with."""
    return Finding(topic, Grade.WARNING, said, remedy)


def failed(topic: str, said: str, remedy: str) -> Finding:
    """Return a finding that keeps a node from its work."""
    return Finding(topic, Grade.FAILED, said, remedy)


def skipped(topic: str, said: str) -> Finding:
    """Return that something was not looked at, and why."""
    return Finding(topic, Grade.SKIPPED, said)


__all__ = ["Finding", "Grade", "failed", "ok", "skipped", "warning"]
