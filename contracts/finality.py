"""Proofs that a report is final, as the Oracle's `firstAfter` and `finalAnswer` take them."""

from dataclasses import dataclass

from consensus.messages import Header
from contracts import abi
from contracts.client import CONTRACT, Claim, checked_signature, known_confidence


@dataclass(frozen=True, slots=True)
class LinkedBlock:
    """A block's header without its link, and what the link is the hash of besides the parent."""

    view: int
    observed_at_ms: int
    feed_root: bytes
    height: int
    state_digest: bytes
    payload_digest: bytes

    @property
    def encoded(self) -> bytes:
        """The block as a call's argument."""
        return abi.encode_words(
            self.view,
            self.observed_at_ms,
            self.feed_root,
            self.height,
            self.state_digest,
            self.payload_digest,
        )


@dataclass(frozen=True, slots=True)
class FinalProof:
    """A report, its parent, and the descendants down to two of consecutive views.

    `parent` is the header of the genesis certificate if the report is its epoch's first;
    `signers` and `signature` (192 bytes) are of the last block's certificate.
    """

    epoch: int
    parent: Header
    blocks: tuple[LinkedBlock, ...]
    signers: int
    signature: bytes

    @property
    def encoded(self) -> abi.Dynamic:
        """The proof as a call's argument."""
        parent = abi.encode_words(
            self.parent.view, self.parent.observed_at_ms, self.parent.feed_root, self.parent.link
        )
        blocks = abi.encode_array([block.encoded for block in self.blocks])
        return abi.Dynamic(
            abi.encode_tuple(
                self.epoch, parent, blocks, self.signers, checked_signature(self.signature)
            )
        )


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """One feed's answer in a final report, and when the final report before was observed."""

    previous_at_ms: int
    observed_at_ms: int
    price: int
    confidence_ppm: int | None
    status: int


def encode_first_after(time_ms: int, proof: FinalProof, claim: Claim) -> bytes:
    """Return the calldata for an answer in the first final report after a moment."""
    return abi.encode_call(CONTRACT, "firstAfter", time_ms, proof.encoded, claim.encoded)


def encode_final_answer(proof: FinalProof, claim: Claim) -> bytes:
    """Return the calldata for an answer in a final report."""
    return abi.encode_call(CONTRACT, "finalAnswer", proof.encoded, claim.encoded)


def decode_final_answer(data: bytes) -> FinalAnswer:
    """Return what both functions return; raise `ValueError` for what no Oracle returns."""
    previous, observed, price, confidence, status = abi.decode(
        ["uint64", "uint64", "uint256", "uint256", "uint8"], data
    )
    return FinalAnswer(previous, observed, price, known_confidence(confidence), status)
