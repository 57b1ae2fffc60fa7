"""The port through which the consensus asks what a payload means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from consensus.messages import Change, Observed
from consensus.types import Digest

State = object
"""What a payload rule carries from block to block: immutable, opaque to the consensus."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows from a parent's state and a payload; every member computes the same."""

    observed_at_ms: int
    feed_root: Digest
    state_digest: Digest
    payload_digest: Digest
    state: State
    successor: Digest | None = None
    """The hash of the next epoch's configuration, if this block or one before it decided that."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A state that came from a peer, and the digest by which it is believed.

    `deciding_view` is the view of the block that decided the next epoch, if the state has one
    decided; `successor` the hash of its configuration.
    """

    state: State
    state_digest: Digest
    successor: Digest | None = None
    deciding_view: int | None = None


class PayloadRule(Protocol):
    """Builds and judges the payloads of one epoch. Pure; bound to one domain D.

    Signatures of observations are checked by the shell before the core sees them.
    """

    def check(self, observed: Observed) -> None:
        """Raise `InvalidPayload` if a payload with this observation could not be valid."""
        ...

    def build(
        self, view: int, observations: Sequence[Observed], change: Change | None = None
    ) -> bytes:
        """Return the payload of these observations (distinct, checked members', for `view`).

        With a change it decides the next epoch.
        """
        ...

    def digest(self, view: int, payload: bytes) -> Digest:
        """Return what the link of a block covers of its payload; no state is needed.

        Raises `InvalidPayload` if it has none.
        """
        ...

    def apply(self, parent_state: State, parent_time_ms: int, view: int, payload: bytes) -> Outcome:
        """Return what the payload makes of the parent's state.

        Raises `InvalidPayload` unless it holds at least q distinct members' observations for
        exactly this view, in the canonical order.
        """
        ...

    def encode_state(self, state: State) -> bytes:
        """Return the canonical form of a state."""
        ...

    def restore(self, encoded: bytes) -> Restored:
        """Return the state in its canonical form; raise `InvalidPayload` for anything else."""
        ...
