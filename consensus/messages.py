"""What members send each other, and the parts of it that are signed.

A structure that was decoded has the right shapes and widths and nothing more: certificates and
signatures are checked by `node.verifier`, rules by `consensus.core`. The domain D is never on the
wire: whoever receives a header computes its id with its own D.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from consensus.digests import header_id, link_digest
from consensus.types import (
    MEMBERS_MAX,
    Digest,
    WireBitmap,
    WireBlsSignature,
    WireDigest,
    WireEd25519Signature,
    WireTime,
    WireView,
)

FRAME_BYTES_MAX: Final = 1 << 20
"""No message of the committee is longer, neither on the wire nor in memory."""

PAYLOAD_BYTES_MAX: Final = 1 << 19
BLOCKS_PER_RESPONSE_MAX: Final = 64
DOCUMENT_BYTES_MAX: Final = 1 << 17
"""A configuration travels in a payload beside a quorum's observations."""

STATE_BYTES_MAX: Final = 1 << 18
DESCENDANTS_MAX: Final = 256
"""So many links at most lead from a checkpoint to the certified block that makes it final."""
TESTIMONY_MAX: Final = 64
EVIDENCE_BYTES_MAX: Final = 1 << 14
"""No piece of evidence is longer when encoded: two timeouts of 128 groups each fit."""


class Header(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a contract sees of a block: its view, observation time (Unix ms), feed root and link."""

    view: WireView
    observed_at_ms: WireTime
    feed_root: WireDigest
    link: WireDigest

    def id(self, domain: bytes) -> Digest:
        """Return the digest that votes sign under this domain."""
        return header_id(domain, self.view, self.observed_at_ms, self.feed_root, self.link)


class QC(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A quorum certificate: a quorum's aggregate signature on one header.

    `bitmap` is a big-endian 256-bit integer, bit i for member i; `aggregate` a compressed G2 point.
    The certificate of view 0 is the genesis and is taken by equality only.
    """

    header: Header
    bitmap: WireBitmap
    aggregate: WireBlsSignature

    @property
    def view(self) -> int:
        """The view that the signatures cover."""
        return self.header.view


class TimeoutGroup(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The members of a timeout certificate that reported one high-QC view."""

    high_qc_view: WireView
    bitmap: WireBitmap


class TC(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A timeout certificate: a quorum left `view`, and the highest QC any of them reported.

    Groups ascend strictly by `high_qc_view`; their bitmaps are disjoint.
    """

    view: WireView
    groups: Annotated[tuple[TimeoutGroup, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    aggregate: WireBlsSignature
    high_qc: QC


class Block(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A header with what its link commits to: the parent (by its certificate), state and payload.

    `payload` is opaque to the consensus; `payload_digest` is recomputed by the payload rule, never
    taken from a peer.
    """

    header: Header
    height: WireView
    state_digest: WireDigest
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_BYTES_MAX)]
    justify: QC

    @property
    def view(self) -> int:
        """The view this block was proposed in."""
        return self.header.view

    def link_with(self, parent_id: bytes, payload_digest: bytes) -> Digest:
        """Return the link that the header must carry, given what the receiver recomputed."""
        return link_digest(
            parent_id, self.justify.view, self.height, self.state_digest, payload_digest
        )


class Link(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a header's link is the digest of."""

    parent_id: WireDigest
    parent_view: WireView
    height: WireView
    state_digest: WireDigest
    payload_digest: WireDigest

    @property
    def digest(self) -> Digest:
        """The link of the header."""
        return link_digest(
            self.parent_id, self.parent_view, self.height, self.state_digest, self.payload_digest
        )


class Witnessed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A certificate that a member keeps and shows, since it may be half of an offence.

    Either a QC with what its header's link covers, or a TC.
    """

    qc: QC | None
    link: Link | None
    tc: TC | None


class Observed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member's signed observation for one view; the body is opaque to the consensus."""

    view: WireView
    member: Annotated[int, Meta(ge=0, lt=MEMBERS_MAX)]
    body: Annotated[bytes, Meta(max_length=1 << 16)]
    signature: WireEd25519Signature


class ObservationMessage(
    Struct, frozen=True, tag="observation", array_like=True, forbid_unknown_fields=True
):
    """An observation on its way to the leader."""

    observed: Observed


class Proposal(Struct, frozen=True, tag="proposal", array_like=True, forbid_unknown_fields=True):
    """A leader's block for its view, with the TC that justifies a gap, and the leader's own vote.

    `signature` is the leader's Ed25519 signature of H(proposal | id), `vote` its BLS share.
    """

    block: Block
    tc: TC | None
    vote: WireBlsSignature
    signature: WireEd25519Signature


class Vote(Struct, frozen=True, tag="vote", array_like=True, forbid_unknown_fields=True):
    """A member's BLS share on one header. Two different ones in one view prove equivocation."""

    header: Header
    share: WireBlsSignature


class Timeout(Struct, frozen=True, tag="timeout", array_like=True, forbid_unknown_fields=True):
    """A member's BLS share on having left `view`, with the certificates it knows beside it.

    `share` covers (view, high_qc_view) alone and is repeated verbatim; `qc` and `tc` may be newer.
    """

    view: WireView
    high_qc_view: WireView
    share: WireBlsSignature
    qc: QC
    tc: TC | None


class Certificate(
    Struct, frozen=True, tag="certificate", array_like=True, forbid_unknown_fields=True
):
    """A certificate that its collector hands on: a QC in a large committee, or a fresh TC."""

    qc: QC
    tc: TC | None


class BlockRequest(
    Struct, frozen=True, tag="block-request", array_like=True, forbid_unknown_fields=True
):
    """Asks for the block with this id and for its ancestors above `known_view`, newest first."""

    block_id: WireDigest
    known_view: WireView


class BlockResponse(
    Struct, frozen=True, tag="block-response", array_like=True, forbid_unknown_fields=True
):
    """Answers a block request: the blocks asked for, newest first; empty if unknown."""

    block_id: WireDigest
    blocks: Annotated[tuple[Block, ...], Meta(max_length=BLOCKS_PER_RESPONSE_MAX)]


class CheckpointRequest(
    Struct, frozen=True, tag="checkpoint-request", array_like=True, forbid_unknown_fields=True
):
    """Asks for the last final block, if its view is above `known_view`, with its state."""

    known_view: WireView


class Descendant(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block above a checkpoint without its payload: what its link covers beside its parent."""

    header: Header
    state_digest: WireDigest
    payload_digest: WireDigest


class CheckpointResponse(
    Struct, frozen=True, tag="checkpoint", array_like=True, forbid_unknown_fields=True
):
    """A final block, the encoded state after it, and what shows that it is final.

    `descendants` lead from its child to the block that `qc` certifies, oldest first.
    """

    block: Block
    state: Annotated[bytes, Meta(max_length=STATE_BYTES_MAX)]
    descendants: Annotated[tuple[Descendant, ...], Meta(min_length=1, max_length=DESCENDANTS_MAX)]
    qc: QC


class Change(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The next epoch's configuration, with the aggregate of a quorum's BLS approvals of it.

    `document` is the configuration in full, opaque to the consensus.
    """

    configuration_hash: WireDigest
    document: Annotated[bytes, Meta(max_length=DOCUMENT_BYTES_MAX)]
    bitmap: WireBitmap
    aggregate: WireBlsSignature


class Candidate(Struct, frozen=True, tag="candidate", array_like=True, forbid_unknown_fields=True):
    """A configuration that a member proposes for the next epoch and, with a share, approves."""

    document: Annotated[bytes, Meta(max_length=DOCUMENT_BYTES_MAX)]
    share: WireBlsSignature | None


class HandoverShare(
    Struct, frozen=True, tag="handover-share", array_like=True, forbid_unknown_fields=True
):
    """A member's BLS share on the end of its epoch; see `consensus.handover.Terms`."""

    configuration_hash: WireDigest
    deciding_id: WireDigest
    observed_at_ms: WireTime
    share: WireBlsSignature


class HandoverCertificate(
    Struct, frozen=True, tag="handover-certificate", array_like=True, forbid_unknown_fields=True
):
    """A quorum's aggregate signature on the end of its epoch."""

    configuration_hash: WireDigest
    deciding_id: WireDigest
    observed_at_ms: WireTime
    bitmap: WireBitmap
    aggregate: WireBlsSignature


class SuccessorRequest(
    Struct, frozen=True, tag="successor-request", array_like=True, forbid_unknown_fields=True
):
    """Asks how the epoch ended that the message is of."""


class Successor(Struct, frozen=True, tag="successor", array_like=True, forbid_unknown_fields=True):
    """How an epoch ended: the certificate, the deciding block, and the encoded state after it."""

    certificate: HandoverCertificate
    block: Block
    state: Annotated[bytes, Meta(max_length=STATE_BYTES_MAX)]


class EvidenceMessage(
    Struct, frozen=True, tag="evidence", array_like=True, forbid_unknown_fields=True
):
    """Evidence against members of the epoch that the message is of; see `consensus.evidence`."""

    evidence: Annotated[bytes, Meta(max_length=EVIDENCE_BYTES_MAX)]


class Testimony(Struct, frozen=True, tag="testimony", array_like=True, forbid_unknown_fields=True):
    """What a member saw certified around a fork, told before it halts."""

    records: Annotated[tuple[Witnessed, ...], Meta(min_length=1, max_length=TESTIMONY_MAX)]


Message = (
    ObservationMessage
    | Proposal
    | Vote
    | Timeout
    | Certificate
    | BlockRequest
    | BlockResponse
    | CheckpointRequest
    | CheckpointResponse
    | Candidate
    | HandoverShare
    | HandoverCertificate
    | SuccessorRequest
    | Successor
    | EvidenceMessage
    | Testimony
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the wire form of a message."""
    return _encoder.encode(message)


def decode(frame: bytes) -> Message:
    """Return the message in a frame; raise `InvalidMessage` if it has none of our shapes."""
    from consensus.errors import InvalidMessage

    if len(frame) > FRAME_BYTES_MAX:
        raise InvalidMessage(f"frame of {len(frame)} bytes, at most {FRAME_BYTES_MAX} are taken")
    try:
        return _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # A tag that is no UTF-8 escapes msgspec as it is.
        raise InvalidMessage(f"undecodable frame: {error}") from None
