"""What convicts members, and how often (A1, A2, A4)."""

from typing import Any

import pytest
from msgspec.structs import replace as replaced

from consensus.committee import (
    bitmap_of,
)
from consensus.evidence import (
    HiddenCertificate,
    two_timeouts,
    two_votes,
)
from consensus.messages import TimeoutGroup
from contracts import accountability, client
from contracts.accountability import Stake
from testnet.chain.evm import account_of

ETHER = 10**18
SHARE_PPM = 100_000
COIN = bytes(20)


def test_whoever_equivocates_loses_its_stake_and_the_reporter_gets_its_share(court: Any) -> None:
    for member in range(3):
        receipt = court.deposit(member, 3 * ETHER)
        assert receipt.succeeded, court.error(receipt)
    reporter = account_of(b"\x01" * 32).address
    before = court.oracle.chain.balance(reporter)
    receipt = court.report(court.double_vote([0, 1, 2], [1, 2, 3]))
    found = court.convictions(receipt)
    assert [(c.key, c.slashed) for c in found] == [
        (court.key(1), 3 * ETHER),
        (court.key(2), 3 * ETHER),
    ]
    assert {c.offence for c in found} == {"two-votes"}
    reward = 6 * ETHER * SHARE_PPM // 10**6
    fees = receipt.gas_used * receipt.gas_price
    assert court.oracle.chain.balance(reporter) == before + reward - fees
    assert court.stake(1) == court.stake(2) == Stake(COIN, 0, 0, 0)
    assert court.stake(0).amount == 3 * ETHER
    # A4: what is held is the stakes and what was burnt.
    assert court.burnt() == 6 * ETHER - reward
    assert court.oracle.chain.balance(court.address) == 3 * ETHER + court.burnt()
    print(f"two certificates of three, two members slashed: {receipt.gas_used:,} gas")


def test_a2_an_offence_is_punished_once_by_whatever_evidence(court: Any) -> None:
    assert court.deposit(1, ETHER).succeeded
    assert court.convictions(court.report(court.double_vote([1], [1])))
    assert court.deposit(1, ETHER).succeeded
    assert court.error(court.report(court.double_vote([1], [1]))) == "AlreadyPunished()"
    # The same two votes inside certificates, a third vote of that view; who is new counts.
    assert [c.key for c in court.convictions(court.report(court.double_vote([0, 1], [0, 1])))] == [
        court.key(0)
    ]
    context = court.context
    third = two_votes(context, court.vote([1], 3)[0], court.vote([1], 1)[0])
    assert court.error(court.report(third)) == "AlreadyPunished()"
    assert court.stake(1).amount == ETHER
    assert [
        c.slashed for c in court.convictions(court.report(court.double_vote([1], [1], view=10)))
    ] == [ETHER]


def test_a_hidden_certificate_and_two_timeouts(court: Any) -> None:
    for member in (0, 2):
        assert court.deposit(member, ETHER).succeeded
    voted, link = court.vote([0, 1, 3], parent=8)
    left = court.timeout({0: 7, 1: 8, 2: 5}, view=11)
    receipt = court.report(HiddenCertificate(voted, link, left))
    assert [(c.key, c.view, c.offence, c.slashed) for c in court.convictions(receipt)] == [
        (court.key(0), 11, "hidden-certificate", ETHER)
    ]
    print(f"a hidden certificate, two groups: {receipt.gas_used:,} gas")
    twice = two_timeouts(left, court.timeout({2: 6, 1: 8}, view=11))
    receipt = court.report(twice)
    assert [(c.key, c.offence, c.slashed) for c in court.convictions(receipt)] == [
        (court.key(2), "two-timeouts", ETHER)
    ]
    print(f"two timeout certificates, five groups: {receipt.gas_used:,} gas")


def test_a1_a_signature_that_is_not_the_members_convicts_nobody(court: Any) -> None:
    assert court.deposit(1, ETHER).succeeded
    good = court.double_vote([1], [1])
    infinity = b"\xc0" + bytes(95)
    other = court.timeout({1: 3, 0: 4})
    for part in ("first", "second"):
        signed = getattr(good, part)
        for changed in (
            replaced(signed, aggregate=other.aggregate),
            replaced(signed, bitmap=bitmap_of([0, 1])),
            replaced(signed, bitmap=bitmap_of([0])),
        ):
            lied = replaced(good, **{part: changed})
            answer = court.error(court.report(lied))
            assert answer.startswith(("BadSignature", "NobodyConvicted"))
    signed = replaced(good.first, aggregate=infinity)
    lied = replaced(good, first=signed)
    with pytest.raises(ValueError, match="infinity"):
        accountability.encode_report(0, lied)
    swapped = TimeoutGroup(3, bitmap_of([0])), TimeoutGroup(4, bitmap_of([1]))
    lied = two_timeouts(replaced(other, groups=swapped), court.timeout({1: 5}))
    assert court.error(court.report(lied)).startswith("BadSignature(which=")
    assert court.stake(1).amount == ETHER


def test_an_infinite_signature_or_a_malformed_point_in_calldata_convicts_nobody(
    court: Any,
) -> None:
    evidence = two_timeouts(court.timeout({1: 3}), court.timeout({1: 4}))
    calldata = accountability.encode_report(0, evidence)
    for signature in (bytes(192), b"\xff" * 192):
        place = calldata.rindex(client.decompress_g2(evidence.first.aggregate))
        forged = calldata[:place] + signature + calldata[place + 192 :]
        receipt = court.send(forged)
        assert court.error(receipt).startswith("BadSignature(which=")
        assert receipt.gas_used < 500_000


def test_evidence_of_another_epoch_or_network_convicts_nobody(court: Any, new_court: Any) -> None:
    evidence = two_timeouts(court.timeout({1: 3}), court.timeout({1: 4}))
    assert court.error(court.report(evidence, epoch=1)) == "CommitteeMissing(epoch=1)"
    elsewhere = new_court(name="another")
    assert elsewhere.key(1) == court.key(1)
    assert court.error(elsewhere.report(evidence)) == "BadSignature(which=0)"
    assert court.convictions(court.report(evidence))
