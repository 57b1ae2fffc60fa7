"""One broken promise."""

from typing import Literal

from msgspec import Struct

Kind = Literal[
    "two-reports",
    "fork",
    "not-durable",
    "on-chain",
    "equivocation",
    "dishonest-range",
    "bad-certificate",
    "wrong-price",
    "halted",
    "nothing-certified",
    "process",
    "audit",
]


class Violation(Struct, frozen=True, omit_defaults=True):
    """What was broken, in which view and by which member, where that can be said."""

    kind: Kind
    detail: str
    view: int | None = None
    member: str | None = None
