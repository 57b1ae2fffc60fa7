"""Who may move stakes, and when they are free (A3, A5)."""

from dataclasses import replace
from typing import Any

import pytest
from blspy import PopSchemeMPL

from consensus.digests import keccak
from contracts import abi, accountability, client, epochs
from contracts.accountability import Stake
from testnet.chain.evm import Reverted, account_of

ETHER = 10**18
SHARE_PPM = 100_000
COIN = bytes(20)
WINDOW_S = epochs.EVIDENCE_WINDOW_MS // 1000


def test_only_the_operator_of_a_registered_member_deposits(court: Any) -> None:
    other = replace(court.committee.members[1], operator=court.operator(0).address)
    data = accountability.encode_deposit(other, 5)
    assert court.error(court.send(data, court.operator(0), 5)).startswith("NotRegistered(")
    data = accountability.encode_deposit(court.committee.members[1], 5)
    assert court.error(court.send(data, court.operator(0), 5)).startswith("NotOwner(")
    assert court.error(court.send(data, court.operator(1), 4)) == "ValueDiffers(value=4, amount=5)"
    assert court.error(court.deposit(1, 0)).startswith("NoStake(")
    assert court.deposit(1, 5).succeeded
    assert court.deposit(1, 6).succeeded
    assert court.stake(1) == Stake(court.operator(1).address, 0, 0, 11)


def test_a3_a_stake_stays_until_the_evidence_window_is_over(court: Any, kit: Any) -> None:
    assert court.deposit(1, ETHER).succeeded
    key, chain = court.key(1), court.oracle.chain
    withdraw = accountability.encode_withdraw(key)
    assert court.error(court.send(withdraw, court.operator(1))).startswith("Bound(")
    assert court.error(court.send(accountability.encode_unbond(key), court.operator(2))).startswith(
        "NotOwner("
    )
    assert court.send(accountability.encode_unbond(key), court.operator(1)).succeeded
    assert court.error(court.send(accountability.encode_unbond(key), court.operator(1))).startswith(
        "AlreadyUnb"
    )
    end_s = kit.VALID_UNTIL_MS // 1000 + WINDOW_S
    assert court.stake(1).release_at_ms == end_s * 1000
    # In its last second it can still be slashed, and not be withdrawn.
    chain.set_timestamp(end_s)
    assert court.error(court.send(withdraw, court.operator(1))).startswith("Bound(")
    state = accountability.encode_report(0, court.double_vote([1], [1]))
    chain.set_timestamp(end_s + 1)
    assert court.error(court.send(state)).startswith("TooLate(")
    assert court.error(court.send(withdraw, court.operator(2))).startswith("NotOwner(")
    before = chain.balance(court.operator(1).address)
    receipt = court.send(withdraw, court.operator(1))
    assert receipt.succeeded, court.error(receipt)
    fees = receipt.gas_used * receipt.gas_price
    assert chain.balance(court.operator(1).address) == before + ETHER - fees
    assert chain.balance(court.address) == 0
    assert court.error(court.send(withdraw, court.operator(1))).startswith("NoStake(")


def test_a3_evidence_is_taken_until_the_stake_is_free(court: Any, kit: Any) -> None:
    assert court.deposit(1, ETHER).succeeded
    assert court.send(accountability.encode_unbond(court.key(1)), court.operator(1)).succeeded
    court.oracle.chain.set_timestamp(kit.VALID_UNTIL_MS // 1000 + WINDOW_S)
    assert court.convictions(court.report(court.double_vote([1], [1])))[0].slashed == ETHER
    court.oracle.chain.mine(timestamp=kit.VALID_UNTIL_MS // 1000 + WINDOW_S + 1)
    withdraw = accountability.encode_withdraw(court.key(1))
    assert court.error(court.send(withdraw, court.operator(1))).startswith("NoStake(")


def hand_over(court: Any, kit: Any, first_key: int, valid_until_ms: int) -> None:
    """Open the next epoch, of four members from `first_key` on."""
    from consensus.handover import terms_of
    from contracts.points import decompress_g2

    old = court.committee
    new = kit.Committee(
        n=4,
        first_key=first_key,
        epoch=old.epoch + 1,
        genesis=old.genesis or old,
        valid_until_ms=valid_until_ms,
    )
    for call in new.registrations():
        assert court.oracle.send(call, gas=2**24).succeeded
    digest = terms_of(court.context, new.configuration.hash, b"\xde" * 32, kit.NOW_MS).digest
    shares = [PopSchemeMPL.sign(key, digest) for key in old.keys]
    aggregate = decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
    terms = epochs.HandoverTerms(b"\xde" * 32, kit.NOW_MS, (1 << old.n) - 1, aggregate)
    call = epochs.encode_handover(new.epoch, new.configuration, new.table, terms)
    receipt = court.oracle.send(call, gas=2**24)
    assert receipt.succeeded, client.describe_error(receipt.output)
    court.oracle.committee = new


def test_a3_a_later_epoch_that_lists_the_key_binds_its_stake_too(court: Any, kit: Any) -> None:
    for member in (1, 3):
        assert court.deposit(member, ETHER).succeeded
    keys = {member: court.key(member) for member in (1, 3)}
    for member, key in keys.items():
        assert court.send(accountability.encode_unbond(key), court.operator(member)).succeeded
    day = 86_400_000
    # Epochs 1 and 2 have members 2-5 and 4-7: member 3 is in the first, member 1 in neither.
    hand_over(court, kit, 2, kit.VALID_UNTIL_MS + day)
    hand_over(court, kit, 4, kit.VALID_UNTIL_MS + 2 * day)
    court.oracle.chain.mine(timestamp=kit.VALID_UNTIL_MS // 1000 + WINDOW_S + 1)
    look = accountability.encode_look_through(keys[3], 1)
    for _ in range(2):
        assert court.send(look).succeeded
    withdraw = accountability.encode_withdraw(keys[3])
    answer = court.error(court.send(withdraw, court.operator(3)))
    assert f"releaseAt={kit.VALID_UNTIL_MS + day + WINDOW_S * 1000}" in answer
    receipt = court.send(accountability.encode_withdraw(keys[1]), court.operator(1))
    assert receipt.succeeded, court.error(receipt)
    print(f"withdraw past two epochs of four: {receipt.gas_used:,} gas")
    court.oracle.chain.mine(timestamp=(kit.VALID_UNTIL_MS + day) // 1000 + WINDOW_S + 1)
    assert court.send(withdraw, court.operator(3)).succeeded


@pytest.mark.parametrize(("fee_ppm", "silent"), [(0, False), (10_000, False), (0, True)])
def test_stakes_in_a_token(new_court: Any, fee_ppm: int, silent: bool) -> None:
    court = new_court(None, fee_ppm, silent)
    receipt = court.deposit(1, ETHER)
    assert receipt.succeeded, court.error(receipt)
    arrived = ETHER - ETHER * fee_ppm // 10**6
    assert court.stake(1).amount == arrived
    assert court.convictions(court.report(court.double_vote([1], [1])))[0].slashed == arrived
    reporter = account_of(b"\x01" * 32).address
    balance = keccak(b"balanceOf(address)")[:4] + bytes(12)
    chain = court.oracle.chain
    paid = arrived * SHARE_PPM // 10**6
    got = int.from_bytes(chain.call(court.token, balance + reporter))
    assert got == paid - paid * fee_ppm // 10**6
    assert int.from_bytes(chain.call(court.token, balance + court.address)) == court.burnt()
    value = accountability.encode_deposit(court.committee.members[1], 5)
    assert court.error(court.send(value, court.operator(1), 5)).startswith("ValueDiffers(")


def test_a_token_that_calls_back_deposits_nothing_twice(new_court: Any) -> None:
    court = new_court(None)
    inner = accountability.encode_report(0, court.double_vote([1], [1]))
    hook = keccak(b"hook(address,bytes)")[:4] + bytes(12) + court.address + abi.encode_word(64)
    hook += abi.encode_word(len(inner)) + inner + bytes(-len(inner) % 32)
    assert court.oracle.chain.transact(court.token, hook).succeeded
    assert court.deposit(1, ETHER).succeeded
    outcome = court.oracle.chain.call(court.token, keccak(b"outcome()")[:4])
    assert outcome[64:68] == keccak(b"Reentered()")[:4]
    assert court.stake(1).amount == ETHER


def test_a5_the_share_of_a_reporter_is_at_most_a_half(kit: Any, oracle: Any) -> None:
    with pytest.raises(Reverted) as reverted:
        oracle.chain.deploy(accountability.encode_deploy(oracle.address, COIN, 500_001))
    assert str(accountability.decode_error(reverted.value.data)) == "ShareTooLarge(sharePpm=500001)"
