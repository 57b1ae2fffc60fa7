"""What pushes cost, as whole transactions: a higher figure fails, a lower one is printed."""

from typing import Any

import pytest

from contracts import client

# (members, feeds, absent) to the gas of a push over stored answers; measured, plus at most 200.
LIMITS = {
    (4, 1, 0): 200_300,
    (4, 4, 0): 200_400,
    (4, 4, 1): 201_500,
    (7, 4, 2): 202_500,
    (16, 4, 0): 200_500,
    (16, 4, 5): 205_500,
    (4, 20, 0): 226_500,
}


def steady_push(kit: Any, n: int, feeds: int, absent: int) -> int:
    """Return the gas of a push that changes every word of an earlier one."""
    committee = kit.Committee(n=n, table=kit.feed_table(feeds))
    oracle = kit.deploy(committee)
    for step in range(2):
        answers = [kit.answer(64_000_0000000 + 1000 * step + i) for i in range(feeds)]
        words = [kit.word_of(*answers[i : i + 4]) for i in range(0, feeds, 4)]
        signers = list(range(absent, n))
        report = committee.report(words, kit.NOW_MS + 250 * step, 1_000_000 + step, signers)
        receipt = oracle.push(report)
        assert client.decode_stored_flag(receipt.output)
    return int(receipt.gas_used)


@pytest.mark.parametrize("case", LIMITS, ids=str)
def test_a_push_costs_no_more_than_it_did(kit: Any, case: tuple[int, int, int]) -> None:
    gas = steady_push(kit, *case)
    print(f"{case[0]} members, {case[1]} feeds, {case[2]} absent: {gas:,} gas")
    assert gas <= LIMITS[case]
    assert gas > LIMITS[case] - 2_000, "lower the limit, so that it means something"


@pytest.mark.slow
def test_a_push_of_a_hundred_feeds(kit: Any) -> None:
    gas = steady_push(kit, 4, 100, 0)
    print(f"4 members, 100 feeds: {gas:,} gas")
    assert gas <= 350_000


def test_reads_are_cheap(kit: Any) -> None:
    oracle = kit.deploy(kit.Committee())
    assert oracle.push(oracle.committee.report()).succeeded
    receipt = oracle.chain.transact(oracle.address, client.encode_read(0, 60, 10_000))
    print(f"read as a transaction of its own: {receipt.gas_used:,} gas")
    assert receipt.succeeded
    assert receipt.gas_used <= 27_500
