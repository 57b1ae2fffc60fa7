"""A certificate that was verified here stands in for another one of the same header."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from blspy import PopSchemeMPL
from nacl.signing import SigningKey

from consensus.committee import Configuration, EpochContext, Member, Timing, bitmap_of
from consensus.digests import proposal_digest
from consensus.errors import InvalidMessage
from consensus.messages import QC, Block, Certificate, Header, Proposal, Timeout
from contracts.points import decompress_g1
from node.payload import encode_payload
from node.verifier import Verifier

N = 4
BLS = [PopSchemeMPL.key_gen(sha256(b"bls %d" % i).digest()) for i in range(N)]
ED25519 = [SigningKey(sha256(b"ed25519 %d" % i).digest()) for i in range(N)]
CONTEXT = EpochContext(
    network=bytes(32),
    epoch=0,
    configuration=Configuration(
        tuple(
            Member(
                decompress_g1(bytes(bls.get_g1())),
                bytes(bls.get_g1()),
                bytes(ed25519.verify_key),
                bytes([index + 1] * 20),
            )
            for index, (bls, ed25519) in enumerate(zip(BLS, ED25519, strict=True))
        ),
        bytes(32),
        Timing(),
        10**15,
    ),
    genesis_state_digest=bytes(32),
    genesis_time_ms=0,
)
PARENT = Header(1, 1_000, b"\x01" * 32, b"\x02" * 32)


def certificate(signers: Sequence[int], header: Header = PARENT) -> QC:
    shares = [PopSchemeMPL.sign(BLS[i], header.id(CONTEXT.domain)) for i in signers]
    return QC(header, bitmap_of(signers), bytes(PopSchemeMPL.aggregate(shares)))


def forged(signers: Sequence[int] = (0, 1, 3)) -> QC:
    other = certificate(signers, Header(2, 1_000, bytes(32), bytes(32)))
    return QC(PARENT, other.bitmap, other.aggregate)


def proposal(justify: QC) -> Proposal:
    header = Header(2, 2_000, b"\x03" * 32, b"\x04" * 32)
    block = Block(header, 2, bytes(32), encode_payload([]), justify)
    block_id = header.id(CONTEXT.domain)
    leader = CONTEXT.leader(2)
    return Proposal(
        block,
        None,
        bytes(PopSchemeMPL.sign(BLS[leader], block_id)),
        ED25519[leader].sign(proposal_digest(block_id)).signature,
    )


def knowing(qc: QC) -> Verifier:
    verifier = Verifier(CONTEXT, 2)
    verifier.check_qc(qc)
    return verifier


def test_a_proposal_with_another_quorums_certificate_needs_no_pairing() -> None:
    own = certificate((0, 1, 2))
    verifier = knowing(own)
    came = proposal(certificate((1, 2, 3)))
    assert not verifier.is_cheap(came)
    settled = verifier.settled(came)
    assert isinstance(settled, Proposal)
    assert settled == proposal(own)
    assert verifier.is_cheap(settled)
    verifier.check(CONTEXT.leader(2), settled)


def test_a_forged_certificate_is_neither_used_nor_kept() -> None:
    own = certificate((0, 1, 2))
    verifier = knowing(own)
    assert verifier.settled(proposal(forged())) == proposal(own)
    assert verifier.settled(Timeout(2, 1, bytes(96), forged(), None)).qc == own  # type: ignore[union-attr]
    assert verifier.settled(Certificate(forged(), None)) == Certificate(own, None)
    with pytest.raises(InvalidMessage, match="does not verify"):
        verifier.check_qc(forged())


def test_a_certificate_of_an_unknown_header_stays_and_is_verified() -> None:
    verifier = Verifier(CONTEXT, 2)
    came = proposal(forged())
    assert verifier.settled(came) is came
    with pytest.raises(InvalidMessage, match="does not verify"):
        verifier.check(CONTEXT.leader(2), came)


def test_a_forged_certificate_never_stands_in_for_another() -> None:
    verifier = Verifier(CONTEXT, 2)
    with pytest.raises(InvalidMessage):
        verifier.check_qc(forged())
    came = proposal(certificate((0, 1, 2)))
    assert verifier.settled(came) is came


@pytest.mark.parametrize("bitmap", [bitmap_of((0, 1)), bitmap_of((0, 1, N))])
def test_a_malformed_certificate_is_refused_though_its_header_is_known(bitmap: bytes) -> None:
    verifier = knowing(certificate((0, 1, 2)))
    with pytest.raises(InvalidMessage):
        verifier.settled(proposal(QC(PARENT, bitmap, bytes(96))))


def test_a_certificate_of_another_header_in_the_same_view_does_not_count_as_known() -> None:
    verifier = knowing(certificate((0, 1, 2)))
    other = certificate((0, 1, 2), Header(1, 1_001, b"\x01" * 32, b"\x02" * 32))
    came = Certificate(other, None)
    assert verifier.settled(came) is came
