"""Evidence: two signatures that no honest member makes both of, in a form that anyone can check.

Whoever has the members' keys of one epoch can check it, a contract too; README.md fixes every byte.
A signature by several members counts against each of them, so certificates are evidence like
single shares are, which have a bitmap of one bit.
"""

from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta, Struct

from consensus.committee import EpochContext, bitmap_of, signers_of
from consensus.errors import InvalidMessage
from consensus.messages import QC, TC, Block, Header, Link, TimeoutGroup
from consensus.types import (
    MEMBERS_MAX,
    WireBitmap,
    WireBlsSignature,
    WireView,
)


class InvalidEvidence(InvalidMessage):
    """What was shown as evidence proves nothing."""


class SignedVote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A header and the signature of one or more members on its id; a QC is one of a quorum."""

    header: Header
    bitmap: WireBitmap
    aggregate: WireBlsSignature


class SignedTimeout(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """That members left a view, and what each reported; a TC holds one of a quorum."""

    view: WireView
    groups: Annotated[tuple[TimeoutGroup, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    aggregate: WireBlsSignature


class TwoVotes(Struct, frozen=True, tag="two-votes", array_like=True, forbid_unknown_fields=True):
    """Members signed two headers of one view; the one with the lower id comes first."""

    first: SignedVote
    second: SignedVote

    @property
    def view(self) -> int:
        """The view of both."""
        return self.first.header.view


class TwoTimeouts(
    Struct, frozen=True, tag="two-timeouts", array_like=True, forbid_unknown_fields=True
):
    """Members left one view with two reports; the one that reports less comes first."""

    first: SignedTimeout
    second: SignedTimeout

    @property
    def view(self) -> int:
        """The view of both."""
        return self.first.view


class HiddenCertificate(
    Struct, frozen=True, tag="hidden-certificate", array_like=True, forbid_unknown_fields=True
):
    """Members voted for a block and, in its view or later, reported less than its parent's view.

    Whoever votes for a block knows the certificate of its parent, which `link` shows.
    """

    vote: SignedVote
    link: Link
    timeout: SignedTimeout

    @property
    def view(self) -> int:
        """The view that was left with the false report."""
        return self.timeout.view


Evidence = TwoVotes | TwoTimeouts | HiddenCertificate

KINDS: Final = ("two-votes", "two-timeouts", "hidden-certificate")


def kind_of(evidence: Evidence) -> str:
    """Return the name of the offence, one of `KINDS`."""
    tag = type(evidence).__struct_config__.tag
    assert isinstance(tag, str)
    return tag


class Signatures(Protocol):
    """Checks aggregates against the keys of one epoch."""

    def is_vote(self, vote: SignedVote) -> bool:
        """Tell whether every member of the bitmap signed the header's id."""
        ...

    def is_timeout(self, timeout: SignedTimeout) -> bool:
        """Tell whether every member of each group signed its report."""
        ...


def vote_of(source: QC) -> SignedVote:
    """Return the votes in a QC."""
    return SignedVote(source.header, source.bitmap, source.aggregate)


def timeout_of(source: TC) -> SignedTimeout:
    """Return the timeouts in a TC."""
    return SignedTimeout(source.view, source.groups, source.aggregate)


def link_of(block: Block, parent_id: bytes, payload_digest: bytes) -> Link:
    """Return what a block's link must cover, given what the receiver recomputed."""
    return Link(parent_id, block.justify.view, block.height, block.state_digest, payload_digest)


def single_vote(member: int, header: Header, share: bytes) -> SignedVote:
    """Return one member's vote."""
    return SignedVote(header, bitmap_of((member,)), share)


def single_timeout(member: int, view: int, high_qc_view: int, share: bytes) -> SignedTimeout:
    """Return one member's timeout."""
    return SignedTimeout(view, (TimeoutGroup(high_qc_view, bitmap_of((member,))),), share)


def two_votes(context: EpochContext, one: SignedVote, other: SignedVote) -> TwoVotes:
    """Return the evidence of two votes in its one form."""
    in_order = one.header.id(context.domain) < other.header.id(context.domain)
    return TwoVotes(one, other) if in_order else TwoVotes(other, one)


def two_timeouts(one: SignedTimeout, other: SignedTimeout) -> TwoTimeouts:
    """Return the evidence of two timeouts in its one form."""
    return TwoTimeouts(*sorted((one, other), key=_order_of_timeout))


def _order_of_timeout(timeout: SignedTimeout) -> list[tuple[int, bytes]]:
    return [(group.high_qc_view, group.bitmap) for group in timeout.groups]


def accused_by(context: EpochContext, evidence: Evidence) -> tuple[int, ...]:
    """Return the members at fault if all signatures hold, which are not looked at.

    Raises `InvalidEvidence` if it has another form than README.md fixes, or accuses nobody.
    """
    match evidence:
        case TwoVotes(first=first, second=second):
            bits = _voters(context, first) & _voters(context, second)
            if first.header.view != second.header.view:
                raise InvalidEvidence("votes of two views")
            if not first.header.id(context.domain) < second.header.id(context.domain):
                raise InvalidEvidence("votes for one header, or not in the order of their ids")
        case TwoTimeouts(first=one, second=other):
            bits = _reported_twice(context, one, other)
        case HiddenCertificate(vote=vote, link=link, timeout=timeout):
            bits = _voters(context, vote)
            if vote.header.link != link.digest:
                raise InvalidEvidence("a link that the header does not show")
            if timeout.view < vote.header.view:
                raise InvalidEvidence("a timeout that may have come before the vote")
            low = 0
            for high_qc_view, members in _groups(context, timeout):
                low |= members if high_qc_view < link.parent_view else 0
            bits &= low
    if not bits:
        raise InvalidEvidence("no member signed both")
    return signers_of(bits.to_bytes(32, "big"))


def _voters(context: EpochContext, vote: SignedVote) -> int:
    if vote.header.view < 1:
        raise InvalidEvidence("a vote of view 0, which nobody signs")
    return _bits(context, vote.bitmap)


def _bits(context: EpochContext, bitmap: bytes) -> int:
    bits = int.from_bytes(bitmap, "big")
    if bits == 0 or bits >> context.n:
        raise InvalidEvidence("an empty bitmap, or one with a bit beyond the committee")
    return bits


def _groups(context: EpochContext, timeout: SignedTimeout) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    seen, previous = 0, -1
    for group in timeout.groups:
        bits = _bits(context, group.bitmap)
        if bits & seen or not previous < group.high_qc_view < timeout.view:
            raise InvalidEvidence("groups that overlap or do not ascend below their view")
        seen |= bits
        previous = group.high_qc_view
        groups.append((previous, bits))
    return groups


def _reported_twice(context: EpochContext, one: SignedTimeout, other: SignedTimeout) -> int:
    if one.view != other.view:
        raise InvalidEvidence("timeouts of two views")
    if not _order_of_timeout(one) < _order_of_timeout(other):
        raise InvalidEvidence("timeouts that are the same, or not in the order of their reports")
    bits = 0
    others = _groups(context, other)
    for high, members in _groups(context, one):
        for other_high, other_members in others:
            if high != other_high:
                bits |= members & other_members
    return bits


def verify_evidence(
    context: EpochContext, evidence: Evidence, signatures: Signatures
) -> tuple[int, ...]:
    """Return the members that are at fault, beyond doubt; raise `InvalidEvidence`.

    Takes up to two aggregate verifications.
    """
    members = accused_by(context, evidence)
    match evidence:
        case TwoVotes(first=first, second=second):
            genuine = signatures.is_vote(first) and signatures.is_vote(second)
        case TwoTimeouts(first=one, second=other):
            genuine = signatures.is_timeout(one) and signatures.is_timeout(other)
        case HiddenCertificate(vote=vote, timeout=timeout):
            genuine = signatures.is_vote(vote) and signatures.is_timeout(timeout)
    if not genuine:
        raise InvalidEvidence("a signature in it does not verify")
    return members


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Evidence] = msgspec.msgpack.Decoder(Evidence)


def encode_evidence(evidence: Evidence) -> bytes:
    """Return the stored form."""
    return _encoder.encode(evidence)


def decode_evidence(encoded: bytes) -> Evidence:
    """Return the evidence in a stored form; raise `InvalidEvidence`."""
    try:
        return _decoder.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvidence(f"undecodable evidence: {error}") from None
