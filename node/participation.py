"""Who takes part: whose signatures and observations the newest certificates hold."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

CERTIFICATES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class CertificateShare:
    """Who is in one certificate: `signers` is its bitmap, `observers` that of its observations.

    Bit i is member i.
    """

    view: int
    observed_at_ms: int
    leader: int
    signers: int
    observers: int


@dataclass(frozen=True, slots=True)
class MemberActivity:
    """When a member was last part of a certificate, by the reports' observation time; None: never.

    A certificate is complete with a quorum, so one that lacks a member says little; many do.
    """

    member: str
    index: int
    last_signed_view: int | None = None
    last_signed_at_ms: int | None = None
    last_observed_view: int | None = None
    last_observed_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ParticipationView:
    """The newest certificates, oldest first, and each member's last activity in the epoch."""

    certificates: tuple[CertificateShare, ...] = ()
    members: tuple[MemberActivity, ...] = ()


class Participation:
    """The accounts of one epoch as far as this process saw it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._certificates: deque[CertificateShare] = deque(maxlen=CERTIFICATES_KEPT)
        self._members = [MemberActivity(name, index) for index, name in enumerate(names)]

    def certified(
        self,
        view: int,
        observed_at_ms: int,
        leader: int,
        signers: Sequence[int],
        observers: Sequence[int],
    ) -> None:
        """Note a certificate that is newer than all before."""
        members = self._members
        for index in signers:
            members[index] = replace(
                members[index], last_signed_view=view, last_signed_at_ms=observed_at_ms
            )
        for index in observers:
            members[index] = replace(
                members[index], last_observed_view=view, last_observed_at_ms=observed_at_ms
            )
        self._certificates.append(
            CertificateShare(view, observed_at_ms, leader, _bits(signers), _bits(observers))
        )

    def view(self) -> ParticipationView:
        """Return what is known."""
        return ParticipationView(tuple(self._certificates), tuple(self._members))


def _bits(indices: Sequence[int]) -> int:
    return sum(1 << index for index in set(indices))
