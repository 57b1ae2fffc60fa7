"""What a simulated epoch stands on: its committee, who signs, what a payload means, its genesis.

`testnet/stub_signatures.py` has it without cryptography, `testnet/real_signatures.py` with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consensus.committee import EpochContext
from consensus.evidence import SignedTimeout, SignedVote
from consensus.handover import Terms
from consensus.messages import (
    QC,
    TC,
    Change,
    HandoverCertificate,
    Header,
    Message,
    Observed,
    TimeoutGroup,
)
from consensus.payload import PayloadRule, State

BAD_SHARES = 5
"""Infinity, no point, a point off the subgroup, another's share, and one of two that cancel."""


class Rule(PayloadRule, Protocol):
    """A payload rule whose observations a judge can read."""

    def decode(self, payload: bytes) -> tuple[Observed, ...]:
        """Return the observations in a payload; raise `InvalidPayload` if it holds none."""

    def time_of(self, observed: Observed) -> int:
        """Return the time of an observation (Unix ms)."""


class Signatures(Protocol):
    """Signs for any member, and checks what the shell checks before the core.

    An adversary signs with it for its own members only, and aggregates only what was signed.
    """

    def share(self, member: int, digest: bytes) -> bytes:
        """Return a member's share on a digest."""

    def timeout_share(self, member: int, view: int, high_qc_view: int) -> bytes:
        """Return a member's share on leaving a view."""

    def observed(self, member: int, view: int, time_ms: int) -> Observed:
        """Return a member's signed observation."""

    def proposal_signature(self, member: int, block_id: bytes) -> bytes:
        """Return a leader's signature on its proposal."""

    def certify_votes(self, header: Header, block_id: bytes, shares: Mapping[int, bytes]) -> QC:
        """Aggregate shares that came; raise `BadShares`."""

    def certify_timeouts(
        self, view: int, shares: Mapping[int, tuple[int, bytes]], high_qc: QC
    ) -> TC:
        """Aggregate shares that came; raise `BadShares`."""

    def certify_handover(self, terms: Terms, shares: Mapping[int, bytes]) -> HandoverCertificate:
        """Aggregate shares that came; raise `BadShares`."""

    def qc(self, header: Header, signers: Sequence[int]) -> QC:
        """Return the certificate of these members."""

    def tc(self, view: int, reported: Mapping[int, int], high_qc: QC) -> TC:
        """Return the timeout certificate of {signer: high-QC view}."""

    def tc_aggregate(self, view: int, groups: Sequence[TimeoutGroup]) -> bytes:
        """Return the aggregate of these members' shares on leaving a view."""

    def change(self, document: bytes, approvers: Sequence[int]) -> Change:
        """Return a change that these members approve."""

    def bad_share(self, kind: int, member: int, digest: bytes) -> bytes:
        """Return what is no share of a member on a digest, of one of `BAD_SHARES` kinds."""

    def is_vote(self, vote: SignedVote) -> bool:
        """Tell whether every member of the bitmap signed the header's id."""

    def is_timeout(self, timeout: SignedTimeout) -> bool:
        """Tell whether every member of each group signed its report."""

    def check(self, sender: int, message: Message) -> None:
        """Check what the shell checks before the core; raise `InvalidMessage`."""

    def under(self, context: EpochContext) -> Signatures:
        """Return the same members' signatures in another network or epoch."""


@dataclass(frozen=True)
class Setting:
    """One epoch to be simulated."""

    context: EpochContext
    signatures: Signatures
    rule: Rule
    genesis_state: State


__all__ = ["BAD_SHARES", "Rule", "Setting", "Signatures"]
