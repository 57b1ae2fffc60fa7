"""Real BLS and Ed25519 signatures: what verifies, and everything that must not."""

from typing import Any

import msgspec
import pytest
from blspy import G1Element, G2Element, PopSchemeMPL

from consensus.committee import bitmap_of, signers_of
from consensus.errors import InvalidMessage
from consensus.messages import QC, BlockResponse, Certificate, ObservationMessage, TimeoutGroup
from node.keys.bls_key import check_bls_public_key, is_proof_of_possession
from node.verifier import BadShares, Verifier

INFINITY = bytes(G2Element())
NO_POINT = b"\xff" * 96


def off_subgroup() -> bytes:
    """Return an encoding of a point of the curve over F_p^2 that is not in the group G2."""
    from py_arkworks_bls12381 import G2Point

    for x in range(1, 1000):
        encoded = bytearray(96)
        encoded[0] = 0x80
        encoded[95] = x
        try:
            G2Point.from_compressed_bytes_unchecked(bytes(encoded))
        except ValueError:
            continue
        try:
            G2Point.from_compressed_bytes(bytes(encoded))
        except ValueError:
            return bytes(encoded)
    raise AssertionError("every point was in the group")


def refuse_qc(committee: Any, qc: QC, why: str) -> None:
    with pytest.raises(InvalidMessage, match=why):
        Verifier(committee.context, 2).check_qc(qc)


def test_a_qc_verifies_and_any_change_breaks_it(keyed: Any) -> None:
    c = keyed.Committee(4)
    qc = c.qc(c.block(1).header, [0, 2, 3])
    Verifier(c.context, 2).check_qc(qc)
    replace = msgspec.structs.replace
    for changes in (
        {"view": 2},
        {"observed_at_ms": qc.header.observed_at_ms + 1},
        {"feed_root": b"\x01" * 32},
        {"link": b"\x01" * 32},
    ):
        refuse_qc(c, replace(qc, header=replace(qc.header, **changes)), "does not verify")
    refuse_qc(c, replace(qc, bitmap=bitmap_of([0, 1, 2])), "does not verify")
    refuse_qc(c, replace(qc, bitmap=bitmap_of([0, 1, 2, 3])), "does not verify")
    refuse_qc(c, replace(qc, bitmap=bitmap_of([0, 2])), "2 signers")
    refuse_qc(c, replace(qc, bitmap=bitmap_of([0, 2, 3, 4])), "beyond")


@pytest.mark.parametrize("point", [INFINITY, NO_POINT, bytes(96), off_subgroup()])
def test_infinity_and_points_off_the_subgroup_are_refused(keyed: Any, point: bytes) -> None:
    c = keyed.Committee(4)
    header = c.block(1).header
    refuse_qc(c, QC(header, bitmap_of([0, 1, 2]), point), r"point|infinity")
    tc = msgspec.structs.replace(c.tc(1, {0: 0, 1: 0, 2: 0}), aggregate=point)
    with pytest.raises(InvalidMessage, match=r"point|infinity"):
        Verifier(c.context, 2).check_tc(tc)
    shares = {**c.shares(header, [0, 1]), 2: point}
    with pytest.raises(BadShares) as bad:
        Verifier(c.context, 2).certify_votes(header, header.id(c.domain), shares)
    assert bad.value.signers == (2,)
    assert not Verifier(c.context, 2).is_share(0, header.id(c.domain), point)


def test_a_signature_counted_twice_is_no_quorum(keyed: Any) -> None:
    c = keyed.Committee(4)
    header = c.block(1).header
    shares = c.shares(header, [0, 1])
    points = [G2Element.from_bytes(s) for s in (shares[0], shares[1], shares[1])]
    aggregate = bytes(PopSchemeMPL.aggregate(points))
    for signers in ([0, 1], [0, 1, 2], [0, 1, 3]):
        with pytest.raises(InvalidMessage):
            Verifier(c.context, 2).check_qc(QC(header, bitmap_of(signers), aggregate))


def test_s5_nothing_is_good_in_another_epoch_or_network(keyed: Any) -> None:
    here = keyed.Committee(4)
    for there in (keyed.Committee(4, epoch=1), keyed.Committee(4, name="other")):
        assert there.domain != here.domain
        qc = here.qc(here.block(1).header)
        refuse_qc(there, qc, "does not verify")
        refuse_qc(there, here.context.genesis_qc, "genesis")
        with pytest.raises(InvalidMessage):
            Verifier(there.context, 2).check_tc(
                here.tc(1, {0: 0, 1: 0, 2: 0}, there.context.genesis_qc)
            )
        with pytest.raises(InvalidMessage, match="Ed25519"):
            Verifier(there.context, 2).check_observed(here.observed(0, 1))
        header = here.block(1).header
        with pytest.raises(BadShares) as bad:
            Verifier(there.context, 2).certify_votes(
                header, header.id(there.domain), here.shares(header, range(3))
            )
        assert bad.value.signers == (0, 1, 2)


def test_a_tc_verifies_and_any_change_breaks_it(keyed: Any) -> None:
    c = keyed.Committee(4)
    qc = c.qc(c.block(2).header)
    tc = c.tc(5, {0: 0, 1: 2, 3: 2}, qc)
    assert [(g.high_qc_view, signers_of(g.bitmap)) for g in tc.groups] == [(0, (0,)), (2, (1, 3))]
    Verifier(c.context, 2).check_tc(tc)
    replace = msgspec.structs.replace
    group = TimeoutGroup
    for groups in (
        (group(0, bitmap_of([1])), group(2, bitmap_of([0, 3]))),
        (group(0, bitmap_of([0])), group(1, bitmap_of([1, 3]))),
        (group(2, bitmap_of([0, 1, 3])),),
        (group(0, bitmap_of([0, 1, 3])),),
        (group(0, bitmap_of([0, 2])), group(2, bitmap_of([1, 3]))),
    ):
        with pytest.raises(InvalidMessage, match="does not verify"):
            Verifier(c.context, 2).check_tc(replace(tc, groups=groups))
    with pytest.raises(InvalidMessage, match="does not verify"):
        Verifier(c.context, 2).check_tc(replace(tc, view=6))
    with pytest.raises(InvalidMessage, match="older than"):
        Verifier(c.context, 2).check_tc(replace(tc, high_qc=c.context.genesis_qc))
    forged = replace(tc, high_qc=replace(qc, aggregate=tc.aggregate))
    with pytest.raises(InvalidMessage, match="a QC whose"):
        Verifier(c.context, 2).check_tc(forged)


@pytest.mark.parametrize("bad", [[0], [3], [1, 2], [0, 4, 6]])
def test_bad_shares_are_found_by_halving_and_the_others_certify(keyed: Any, bad: list[int]) -> None:
    c = keyed.Committee(7)
    header = c.block(1).header
    block_id = header.id(c.domain)
    other = c.block(1, at_ms=keyed.GENESIS_MS + 900).header
    shares = c.shares(header, range(7)) | c.shares(other, bad)
    with pytest.raises(BadShares) as found:
        c.verifier.certify_votes(header, block_id, shares)
    assert list(found.value.signers) == bad
    left = {i: share for i, share in shares.items() if i not in bad}
    qc = c.verifier.certify_votes(header, block_id, left)
    assert signers_of(qc.bitmap) == tuple(left)
    if len(left) >= c.context.q:
        Verifier(c.context, 2).check_qc(qc)


def test_bad_timeout_shares_are_found_too(keyed: Any) -> None:
    c = keyed.Committee(7)
    qc = c.qc(c.block(2).header)
    shares = c.timeout_shares(9, {0: 0, 1: 2, 2: 2, 3: 1, 4: 2, 5: 0, 6: 2})
    wrong = c.timeout_shares(8, {2: 2}) | c.timeout_shares(9, {5: 2})
    shares[2] = wrong[2]
    shares[5] = (0, wrong[5][1])
    with pytest.raises(BadShares) as found:
        c.verifier.certify_timeouts(9, shares, qc)
    assert sorted(found.value.signers) == [2, 5]
    left = {i: share for i, share in shares.items() if i not in (2, 5)}
    Verifier(c.context, 2).check_tc(c.verifier.certify_timeouts(9, left, qc))


def test_shares_that_cancel_each_other_still_make_a_true_certificate(keyed: Any) -> None:
    """Two members in league shift their shares against each other: the sum is what it should be."""
    c = keyed.Committee(4)
    header = c.block(1).header
    shares = c.shares(header, range(3))
    shift = G2Element.from_bytes(c.shares(c.block(2).header, [0])[0])
    shares[0] = bytes(G2Element.from_bytes(shares[0]) + shift)
    shares[1] = bytes(G2Element.from_bytes(shares[1]) + shift.negate())
    qc = c.verifier.certify_votes(header, header.id(c.domain), shares)
    assert qc == c.qc(header)


def test_members_whose_keys_cancel_each_other_do_not_stop_a_tc(keyed: Any) -> None:
    """The keys k and -k: their sum is infinity, which no library takes for a key.

    Whether such a pair signed at all cannot be told, and need not be: it is faulty as a whole.
    """
    secrets = [11, keyed.ORDER - 11, 13, 14, 15, 16, 17]
    c = keyed.Committee(7, secrets=secrets)
    keys = [G1Element.from_bytes(m.bls_key_compressed) for m in c.context.configuration.members]
    assert keys[0] + keys[1] == G1Element()
    qc = c.qc(c.block(2).header)
    tc = c.tc(5, {0: 1, 1: 1, 2: 2, 3: 2, 4: 2}, qc)
    Verifier(c.context, 2).check_tc(tc)
    with pytest.raises(BadShares) as found:
        c.verifier.certify_timeouts(
            5,
            c.timeout_shares(5, {0: 1, 1: 1, 2: 2, 3: 2}) | {4: (2, c.vote(4, qc.header).share)},
            qc,
        )
    assert found.value.signers == (4,)


def test_a_rogue_key_has_no_proof_of_possession(keyed: Any) -> None:
    c = keyed.Committee(4)
    own = PopSchemeMPL.key_gen(b"\x07" * 32)
    others = [G1Element.from_bytes(key.public_key) for key in c.bls[:2]]
    rogue = own.get_g1() + (others[0] + others[1]).negate()
    # With it, one signature passes for all three; hence the proofs at registration.
    signature = PopSchemeMPL.sign(own, b"m" * 32)
    assert PopSchemeMPL.fast_aggregate_verify([*others, rogue], b"m" * 32, signature)
    for proof in (bytes(PopSchemeMPL.pop_prove(own)), c.bls[0].proof_of_possession(), INFINITY):
        assert not is_proof_of_possession(proof, rogue)
    with pytest.raises(ValueError, match="infinity"):
        check_bls_public_key(bytes(G1Element()))


def test_a_proposal_is_checked_as_a_whole(keyed: Any) -> None:
    c = keyed.Committee(4)
    one = c.block(1)
    qc = c.qc(one.header)
    state = c.rule.apply(c.genesis, keyed.GENESIS_MS, 1, one.payload).state
    two = c.block(2, justify=qc, height=2, state=state, at_ms=keyed.GENESIS_MS + 800)
    good = c.proposal(two)
    leader = c.context.leader(2)
    Verifier(c.context, 2).check(leader, good)
    replace = msgspec.structs.replace
    forged_observation = c.rule.build(
        2,
        [
            replace(c.observed(i, 2), signature=b"\x05" * 64) if i == 1 else c.observed(i, 2)
            for i in range(3)
        ],
    )
    stolen = c.rule.build(2, [replace(c.observed(0, 2), member=i) for i in range(3)])
    for bad in (
        replace(good, signature=c.proposal(one).signature),
        replace(good, signature=b"\x09" * 64),
        replace(good, block=replace(two, justify=replace(qc, aggregate=good.vote))),
        replace(good, block=replace(two, payload=forged_observation)),
        replace(good, block=replace(two, payload=stolen)),
        replace(good, block=replace(two, payload=b"\xa1\x80")),
    ):
        with pytest.raises(InvalidMessage):
            Verifier(c.context, 2).check(leader, bad)
    with pytest.raises(InvalidMessage, match="does not lead"):
        Verifier(c.context, 2).check(c.context.leader(3), good)


def test_an_observation_is_bound_to_its_member_and_view(keyed: Any) -> None:
    c = keyed.Committee(4)
    observed = c.observed(1, 5)
    verifier = Verifier(c.context, 2)
    verifier.check(1, ObservationMessage(observed))
    replace = msgspec.structs.replace
    with pytest.raises(InvalidMessage, match="another member's name"):
        verifier.check(2, ObservationMessage(observed))
    for changes in ({"view": 6}, {"member": 2}, {"body": c.body(price=700).encode()}):
        with pytest.raises(InvalidMessage):
            verifier.check_observed(replace(observed, **changes))
    with pytest.raises(InvalidMessage, match="beyond"):
        verifier.check_observed(replace(observed, member=4))


def test_fetched_blocks_and_handed_on_certificates_are_checked(keyed: Any) -> None:
    c = keyed.Committee(4)
    one = c.block(1)
    qc = c.qc(one.header)
    replace = msgspec.structs.replace
    forged = replace(qc, aggregate=c.vote(0, one.header).share)
    verifier = Verifier(c.context, 2)
    verifier.check(0, BlockResponse(one.header.id(c.domain), (one,)))
    with pytest.raises(InvalidMessage):
        verifier.check(0, BlockResponse(bytes(32), (replace(one, justify=forged),)))
    for message in (
        Certificate(forged, None),
        Certificate(qc, replace(c.tc(3, {0: 0, 1: 0, 2: 0}), aggregate=forged.aggregate)),
        replace(c.timeout(1, 3), qc=forged),
    ):
        with pytest.raises(InvalidMessage):
            verifier.check(0, message)
    verifier.check(0, Certificate(qc, c.tc(3, {0: 0, 1: 0, 2: 0})))


def test_a_certificate_in_the_place_of_a_verified_one_gains_nothing(keyed: Any) -> None:
    c = keyed.Committee(4)
    one = c.block(1)
    qc = c.qc(one.header, [0, 1, 2])
    verifier = Verifier(c.context, 2)
    verifier.check_qc(qc)
    forged = msgspec.structs.replace(qc, bitmap=bitmap_of([1, 2, 3]))
    settled = verifier.settled(Certificate(forged, None))
    assert settled == Certificate(qc, None), "the forged one is neither used nor kept"
    refuse_qc(c, forged, "does not verify")
    other = msgspec.structs.replace(qc, header=msgspec.structs.replace(qc.header, view=9))
    assert verifier.settled(Certificate(other, None)) == Certificate(other, None)
    for malformed in (bitmap_of([0, 1]), bitmap_of([0, 1, 2, 9])):
        with pytest.raises(InvalidMessage):
            verifier.settled(Certificate(msgspec.structs.replace(qc, bitmap=malformed), None))


def test_what_was_refused_is_not_remembered(keyed: Any) -> None:
    c = keyed.Committee(4)
    qc = c.qc(c.block(1).header)
    forged = msgspec.structs.replace(qc, bitmap=bitmap_of([1, 2, 3]))
    verifier = Verifier(c.context, 2)
    for _ in range(2):
        with pytest.raises(InvalidMessage):
            verifier.check_qc(forged)
        assert not verifier.is_cheap(Certificate(forged, None))
    verifier.check_qc(qc)
    assert verifier.is_cheap(Certificate(qc, None))
