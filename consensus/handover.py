"""The end of an epoch: what is approved, decided and certified, and how its shares are collected.

A block whose payload carries a `Change` with a quorum's approval decides the next epoch. Once it is
final a member closes its epoch for good and signs the `Terms`; a quorum of these shares is the
handover certificate, by which a contract or a newcomer learns of the next epoch without the blocks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import pack

from consensus.committee import EpochContext, signers_of
from consensus.digests import (
    TAG_APPROVAL,
    TAG_CHANGE,
    TAG_DECIDED,
    TAG_HANDOVER,
    domain_digest,
    keccak,
)
from consensus.errors import InvalidMessage, InvalidPayload
from consensus.messages import Change, HandoverCertificate, HandoverShare
from consensus.types import Digest


@dataclass(frozen=True, slots=True)
class Terms:
    """What a handover share signs: which block of an epoch decided which next one, and its time.

    `epoch` is the next one; `domain` is D of the epoch that ends, `next_domain` D of the next.
    """

    domain: bytes
    epoch: int
    next_domain: bytes
    configuration_hash: bytes
    deciding_id: bytes
    observed_at_ms: int

    @property
    def digest(self) -> Digest:
        """The digest that BLS shares sign and a contract recomputes."""
        assert len(self.domain) == len(self.next_domain) == len(self.deciding_id) == 32
        return keccak(
            TAG_HANDOVER
            + self.domain
            + pack(">Q", self.epoch)
            + self.next_domain
            + self.deciding_id
            + pack(">Q", self.observed_at_ms)
        )

    def covers(self, message: HandoverShare | HandoverCertificate) -> bool:
        """Tell whether a share or a certificate is for these terms."""
        return (message.configuration_hash, message.deciding_id, message.observed_at_ms) == (
            self.configuration_hash,
            self.deciding_id,
            self.observed_at_ms,
        )


def terms_of(
    context: EpochContext, configuration_hash: bytes, deciding_id: bytes, observed_at_ms: int
) -> Terms:
    """Return the terms on which an epoch ends."""
    epoch = context.epoch + 1
    next_domain = domain_digest(context.network, epoch, configuration_hash)
    return Terms(
        context.domain, epoch, next_domain, configuration_hash, deciding_id, observed_at_ms
    )


def terms_in(context: EpochContext, message: HandoverShare | HandoverCertificate) -> Terms:
    """Return the terms that a share or a certificate names."""
    return terms_of(
        context, message.configuration_hash, message.deciding_id, message.observed_at_ms
    )


def approval_digest(
    context: EpochContext, configuration_hash: bytes, document_digest: bytes
) -> Digest:
    """Return what a member's BLS key signs to approve a configuration for the next epoch.

    The document's digest binds what the configuration's hash does not cover: names and proofs.
    """
    assert len(configuration_hash) == len(document_digest) == 32
    place = context.domain + pack(">Q", context.epoch + 1)
    return keccak(TAG_APPROVAL + place + configuration_hash + document_digest)


def change_digest(observations_digest: bytes, change: Change) -> Digest:
    """Return the digest of a payload that carries a change beside its observations."""
    assert len(observations_digest) == 32
    return keccak(
        TAG_CHANGE
        + observations_digest
        + change.configuration_hash
        + keccak(change.document)
        + change.bitmap
        + change.aggregate
    )


def decided_digest(state_digest: bytes, deciding_view: int, configuration_hash: bytes) -> Digest:
    """Return the state digest of the deciding block and of all that follow it in its epoch."""
    assert len(state_digest) == len(configuration_hash) == 32
    return keccak(TAG_DECIDED + state_digest + pack(">Q", deciding_view) + configuration_hash)


def check_approvers(context: EpochContext, change: Change) -> None:
    """Check that a quorum of this epoch approved, signatures aside; raise `InvalidPayload`."""
    if int.from_bytes(change.bitmap, "big") >> context.n:
        raise InvalidPayload("an approval of a member beyond the committee")
    count = len(signers_of(change.bitmap))
    if count < context.q:
        raise InvalidPayload(f"a change that {count} members approve, {context.q} are needed")


def check_certificate(context: EpochContext, certificate: HandoverCertificate) -> None:
    """Check a handover certificate except for its signature; raise `InvalidMessage`."""
    if int.from_bytes(certificate.bitmap, "big") >> context.n:
        raise InvalidMessage("a handover certificate with a bit beyond the committee")
    count = len(signers_of(certificate.bitmap))
    if count < context.q:
        raise InvalidMessage(f"a handover certificate of {count} members, {context.q} needed")


@dataclass(slots=True)
class _Slot:
    message: HandoverShare
    bad: bool = False


class ShareCollector:
    """The handover shares of one epoch: one slot per member, the first share counts."""

    def __init__(self, quorum: int) -> None:
        self._quorum = quorum
        self._slots: dict[int, _Slot] = {}
        self._certifying = False

    def add(self, signer: int, message: HandoverShare) -> None:
        """Take a member's share, whatever its terms: it may come before our own commit."""
        self._slots.setdefault(signer, _Slot(message))

    def take_quorum(self, terms: Terms) -> Mapping[int, bytes] | None:
        """Return the shares on these terms if they are a quorum not yet being certified."""
        shares = {
            signer: slot.message.share
            for signer, slot in sorted(self._slots.items())
            if not slot.bad and terms.covers(slot.message)
        }
        if self._certifying or len(shares) < self._quorum:
            return None
        self._certifying = True
        return shares

    def reject(self, signers: Iterable[int]) -> None:
        """Strike out shares that did not verify and allow another attempt."""
        self._certifying = False
        for signer in signers:
            if signer in self._slots:
                self._slots[signer].bad = True
