"""What the core asks the shell to do, in this order and one after the other.

`Persist` must be durable before the next effect is begun. An effect that signs is performed by
signing, delivering to every destination but oneself, and then handing the signed message to one's
own core if oneself is among the destinations.
"""

from collections.abc import Mapping

from msgspec import Struct

from consensus.evidence import Evidence
from consensus.handover import Terms
from consensus.messages import (
    QC,
    TC,
    Block,
    BlockRequest,
    BlockResponse,
    Certificate,
    CheckpointRequest,
    CheckpointResponse,
    HandoverCertificate,
    Header,
    Testimony,
    Witnessed,
)
from consensus.payload import State
from consensus.safety import SafetyState


class Persist(Struct, frozen=True):
    """Make the safety state durable."""

    safety: SafetyState


class StoreBlock(Struct, frozen=True):
    """Keep a block that was accepted; needed again after a restart, not for safety."""

    block_id: bytes
    block: Block


class SendProposal(Struct, frozen=True):
    """Sign the block's id (Ed25519 and BLS) and send the proposal to everyone, oneself included.

    The own vote rides with it: the core counts the leader's vote when the proposal comes back.
    """

    block: Block
    block_id: bytes
    tc: TC | None


class SendVote(Struct, frozen=True):
    """Sign the header's id with the BLS key and send the vote."""

    header: Header
    block_id: bytes
    to: tuple[int, ...]


class SendTimeout(Struct, frozen=True):
    """Sign (view, high-QC view) with the BLS key and send the timeout to everyone."""

    view: int
    high_qc_view: int
    qc: QC
    tc: TC | None


class SendCertificate(Struct, frozen=True):
    """Send a certificate to everyone else; nothing is signed."""

    certificate: Certificate


class SendClosingQC(Struct, frozen=True):
    """Send a member, for which the epoch goes on, the certificate that ended it."""

    certificate: Certificate
    to: int


class SendHandoverShare(Struct, frozen=True):
    """Sign the terms on which the epoch ended and send the share to everyone, oneself included."""

    terms: Terms


class SendRequest(Struct, frozen=True):
    """Ask some members for blocks or for a checkpoint; nothing is signed."""

    request: BlockRequest | CheckpointRequest
    to: tuple[int, ...]


class SendResponse(Struct, frozen=True):
    """Answer a member's request; nothing is signed."""

    response: BlockResponse | CheckpointResponse
    to: int


class LoadBlocks(Struct, frozen=True):
    """Answer a member's request from the store: the core no longer holds the block.

    The shell follows parents from `block_id` while their view is above `known_view`, within the
    bounds of a response, and sends what it has, an empty response included.
    """

    request: BlockRequest
    to: int


class Observe(Struct, frozen=True):
    """Make an observation for a view, not before a time (Unix ms), sign it and send it.

    A later `Observe` replaces one that is still waiting.
    """

    view: int
    not_before_ms: int
    to: tuple[int, ...]


class SetTimer(Struct, frozen=True):
    """Call `on_timer(view)` after a duration, unless a later `SetTimer` replaces this one."""

    view: int
    duration_ms: int


class SetGraceTimer(Struct, frozen=True):
    """Call `on_grace(view)` after a duration."""

    view: int
    duration_ms: int


class SetFetchTimer(Struct, frozen=True):
    """Call `on_fetch_timer(block_id)` after a duration."""

    block_id: bytes
    duration_ms: int


class SetCheckpointTimer(Struct, frozen=True):
    """Call `on_checkpoint_timer()` after a duration."""

    duration_ms: int


class CertifyVotes(Struct, frozen=True):
    """Aggregate these shares on one header and verify once.

    Comes back as `on_certificate(qc)` or as `on_bad_shares(header, signers)`.
    """

    header: Header
    block_id: bytes
    shares: Mapping[int, bytes]


class CertifyTimeouts(Struct, frozen=True):
    """Aggregate these shares, {signer: (high-QC view, share)}, into a TC and verify once.

    Comes back as `on_timeout_certificate(tc)` or as `on_bad_timeout_shares(view, signers)`.
    """

    view: int
    shares: Mapping[int, tuple[int, bytes]]
    high_qc: QC


class CertifyHandover(Struct, frozen=True):
    """Aggregate these shares on the epoch's end and verify once.

    Comes back as `on_handover_certificate(certificate)` or as `on_bad_handover_shares(signers)`.
    """

    terms: Terms
    shares: Mapping[int, bytes]


class HandedOver(Struct, frozen=True):
    """The epoch is over, and this proves it to anyone: send it to everyone else, begin the next.

    The core does nothing more than answering requests for blocks.
    """

    terms: Terms
    certificate: HandoverCertificate


class SendHandoverCertificate(Struct, frozen=True):
    """Send a member that still collects shares the certificate that came of ours."""

    certificate: HandoverCertificate
    to: int


class Certified(Struct, frozen=True):
    """A block and its certificate are both known: a report can be published."""

    block_id: bytes
    block: Block
    qc: QC
    state: State


class StoreCheckpoint(Struct, frozen=True):
    """Make a final block and the state after it the head; a `Persist` follows at once.

    The blocks between it and what was final before are skipped, and not known here. With a
    `successor` the block decides the next epoch. What begins with `above` is of the block that was
    final before.
    """

    block_id: bytes
    block: Block
    state: State
    successor: bytes | None
    above_id: bytes
    above_view: int
    above_height: int
    above_state: State


class Committed(Struct, frozen=True):
    """A block is final; blocks come oldest first, each exactly once in a process's life.

    Each is the child of the one before, or of the last `StoreCheckpoint`.

    With a `successor`, the hash of the next configuration, it decides the next epoch.
    """

    block_id: bytes
    block: Block
    state: State
    successor: bytes | None = None


class KeepWitnessed(Struct, frozen=True):
    """Keep a certificate that may prove an offence; durable with the next safety state."""

    record: Witnessed


class SendTestimony(Struct, frozen=True):
    """Send a testimony to everyone else; nothing is signed."""

    testimony: Testimony


class Accusation(Struct, frozen=True):
    """Members signed what no honest one signs; keep the evidence and tell the others.

    Certificates in it were verified. With a `witness` a single share in it was not: if that one
    does not verify, nothing is proven but that the witness sent it.
    """

    evidence: Evidence
    members: tuple[int, ...]
    witness: int | None


class PeerFault(Struct, frozen=True):
    """A member broke the protocol in a way that showed only later; count it and drop the peer."""

    member: int
    reason: str


class EnteredView(Struct, frozen=True):
    """The core moved to a view, by a QC or by a TC; for logs and metrics."""

    view: int
    by_timeout: bool


class Halt(Struct, frozen=True):
    """A promise was broken that only more than f faulty members can break: stop at once."""

    reason: str


Effect = (
    Persist
    | StoreBlock
    | SendProposal
    | SendVote
    | SendTimeout
    | SendCertificate
    | SendClosingQC
    | SendHandoverShare
    | SendRequest
    | SendResponse
    | LoadBlocks
    | Observe
    | SetTimer
    | SetGraceTimer
    | SetFetchTimer
    | SetCheckpointTimer
    | CertifyVotes
    | CertifyTimeouts
    | CertifyHandover
    | HandedOver
    | SendHandoverCertificate
    | Certified
    | StoreCheckpoint
    | Committed
    | KeepWitnessed
    | SendTestimony
    | Accusation
    | PeerFault
    | EnteredView
    | Halt
)
