"""Attacks on a perpetual market, and incidents of the field that it must survive."""

import json
from typing import Any

import pytest

from consensus.digests import keccak
from contracts import abi, client

DOLLAR = 10**6
BITCOIN = 10**8
UNIT = 10**7
FEE = DOLLAR
MARGIN = 4_000 * DOLLAR
HALF = BITCOIN // 2


def minute(market: Any) -> None:
    """Go to a minute of which no small trade was made."""
    market.chain.mine(timestamp=(market.chain.head.timestamp // 60 + 1) * 60)


# What a trader may bring.


def test_a_stale_report_is_refused(market: Any, perpetual: Any) -> None:
    who = market.trader(0)
    old = market.report(50_000, age_s=perpetual.MAX_AGE_S + 1)
    refused = market.send(who, "open", HALF, MARGIN, perpetual.NO_LIMIT, perpetual.updates(old))
    assert market.error(refused) == "Stale"


def test_a_report_of_another_network_or_with_another_word_is_refused(
    market: Any, perpetual: Any, kit: Any
) -> None:
    who, limit = market.trader(0), perpetual.NO_LIMIT
    elsewhere = kit.Committee(name="another")
    own = market.report(50_000)
    foreign = elsewhere.sign(own.header, own.words)
    refused = market.send(who, "open", HALF, MARGIN, limit, perpetual.updates(foreign))
    assert market.error(refused) == "BadSignature"
    from dataclasses import replace

    lied = replace(own, words=(kit.word_of(kit.answer(1)),))
    refused = market.send(who, "open", HALF, MARGIN, limit, perpetual.updates(lied))
    assert market.error(refused) == "BadSignature"


def test_a_report_brought_again_is_not_an_older_price(market: Any, perpetual: Any) -> None:
    """Replay: what was stored later counts, without a revert and without a choice."""
    who = market.trader(0)
    cheap = market.report(40_000)
    assert market.oracle.push(market.report(50_000)).succeeded
    receipt = market.send(who, "open", HALF, MARGIN, perpetual.NO_LIMIT, perpetual.updates(cheap))
    assert receipt.succeeded, market.error(receipt)
    assert market.position(who).entry == 25_002_500_000


def test_a_picked_report_must_move_more_than_the_confidence_and_wins_little(
    market: Any, perpetual: Any
) -> None:
    """With the cheapest report of the last seconds to buy at and the dearest to sell at, what a
    minute's picks can win is their move, less twice the confidence, on the small notional."""
    who = market.trader(0)
    minute(market)
    before = market.balance(who)
    reports = [market.report(50_000 + move, age_s=age) for age, move in ((4, -3), (2, 6), (0, 0))]
    receipt = market.send(
        who, "open", HALF - 10**6, MARGIN, perpetual.NO_LIMIT, perpetual.updates(reports[0])
    )
    assert receipt.succeeded, market.error(receipt)
    receipt = market.send(who, "close", 0, perpetual.updates(reports[1]))
    assert receipt.succeeded, market.error(receipt)
    # It picked nine dollars a bitcoin, and paid ten.
    assert market.balance(who) < before
    # And for more than the minute's notional there is no pick at all.
    refused = market.open(who, BITCOIN, 2 * MARGIN, 50_000)
    assert market.error(refused) == "NotSmall"


def test_a_consumer_picks_the_best_report_of_a_window(market: Any) -> None:
    """FIELD: whoever settles a large order has one report to bring."""
    who, keeper = market.trader(0), market.trader(1)
    request = market.request(who, "requestOpen", BITCOIN, 10_000 * DOLLAR, 60_000 * UNIT)
    for step, dollars in enumerate((48_000, 50_000, 49_000, 47_000)):
        word = market.kit.word_of(market.kit.answer(dollars * UNIT))
        market.branch.add([word], request.moment_ms - 100 + 250 * step)
    market.wait_until(request.moment_ms + 2_000)
    for block in (1, 3):
        assert market.error(market.settle_by(who, request, block)) == "NotFirstAfter"
    assert market.settle_by(keeper, request, 2).succeeded
    assert market.position(who).entry == 50_005 * DOLLAR
    assert market.error(market.settle_by(keeper, request, 2)) == "NoRequest"


def test_who_asked_cannot_make_the_order_fail_when_it_knows_the_price(market: Any) -> None:
    who = market.trader(0)
    request = market.request(who, "requestOpen", BITCOIN, 10_000 * DOLLAR, 60_000 * UNIT)
    market.done(who, "withdraw", market.balance(who))
    for receipt in (
        market.open(who, HALF, MARGIN, 50_000),
        market.close(who, 50_000, 0),
        market.send(who, "requestOpen", HALF, MARGIN, 60_000 * UNIT),
        market.send(who, "requestClose", 0),
    ):
        assert market.error(receipt) == "Occupied"
    # Nor can the backer.
    free = market.number("pool") - market.number("reserved")
    market.done(market.backer, "defund", free)
    assert market.settle(market.trader(1), request, 50_000).succeeded
    assert market.position(who).size == BITCOIN


# Two prices.


def batch(market: Any) -> tuple[Any, Any]:
    """Deploy a contract that trades, calls in one transaction, with collateral of its own."""
    code = json.loads((market_artifacts() / "Batch.json").read_text())["bytecode"][2:]
    address = market.chain.deploy(bytes.fromhex(code))
    mint = keccak(b"mint(address,uint256)")[:4] + bytes(12) + address
    amount = 100_000 * DOLLAR
    assert market.chain.transact(market.token, mint + abi.encode_word(amount)).succeeded

    def run(*calls: bytes) -> Any:
        parts = [abi.Dynamic(abi.encode_word(len(c)) + c + bytes(-len(c) % 32)) for c in calls]
        data = keccak(b"run(address,bytes[])")[:4] + abi.encode_tuple(
            int.from_bytes(market.address), abi.encode_array(parts)
        )
        return market.chain.transact(address, data, gas=2**23)

    return address, run


def market_artifacts() -> Any:
    from pathlib import Path

    return Path(__file__).parents[1] / "artifacts"


def test_two_prices_in_one_transaction(market: Any, perpetual: Any) -> None:
    """A contract that buys at an old report and sells at a newer one in one call gets one price."""
    address, run = batch(market)
    amount = 100_000 * DOLLAR
    old, new = market.report(50_000, age_s=2), market.report(52_000)
    encode, updates = perpetual.encode, perpetual.updates
    receipt = run(
        encode("deposit", amount),
        encode("open", HALF, MARGIN, perpetual.NO_LIMIT, updates(old)),
        encode("close", 0, updates(new)),
    )
    assert receipt.succeeded, market.error(receipt)
    # Twice the confidence of half a bitcoin is what it cost.
    left = market.number("balanceOf", perpetual.account(address))
    assert left == amount - 5 * DOLLAR
    take = encode("withdraw", left)
    assert run(take).succeeded


@pytest.mark.parametrize("pull", [True, False])
def test_a_sandwich_around_an_update_of_one_block(market: Any, perpetual: Any, pull: bool) -> None:
    """Buy, let the update in, sell: within the block the first price stays."""
    who, encode, updates = market.trader(0), perpetual.encode, perpetual.updates
    assert market.oracle.push(market.report(50_000)).succeeded
    before = market.balance(who)
    new = market.report(52_000)
    none = updates()
    first, second, third = market.block_of(
        (who, market.address, encode("open", HALF, MARGIN, perpetual.NO_LIMIT, none)),
        (market.trader(1), market.oracle.address, new.calldata),
        (who, market.address, encode("close", 0, updates(new) if pull else none)),
    )
    assert first.succeeded, market.error(first)
    assert second.succeeded
    assert third.succeeded, market.error(third)
    assert market.balance(who) == before - 5 * DOLLAR
    minute(market)


def test_a_liquidation_cannot_use_a_second_price_of_the_block(market: Any, perpetual: Any) -> None:
    who, keeper = market.trader(0), market.trader(1)
    encode, updates = perpetual.encode, perpetual.updates
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    minute(market)
    fair, low = market.report(50_000, age_s=1), market.report(40_000)
    one, other = market.block_of(
        (
            market.trader(2),
            market.address,
            encode("open", BITCOIN // 10, MARGIN, perpetual.NO_LIMIT, updates(fair)),
        ),
        (keeper, market.address, encode("liquidate", perpetual.account(who), updates(low))),
    )
    assert one.succeeded, market.error(one)
    assert market.error(other) == "NotLiquidatable"


# A feed that is not well.


@pytest.mark.parametrize("status", [0, 4, 9])
def test_a_halted_feed_moves_nothing(market: Any, status: int) -> None:
    who = market.trader(0)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    name = "Halted" if status == 4 else "Unavailable"
    for receipt in (
        market.close(who, 51_000, status=status),
        market.liquidate(market.trader(1), who, 30_000, status=status),
        market.open(market.trader(1), HALF, MARGIN, 50_000, status=status),
    ):
        assert market.error(receipt) == name
    # What is not at risk is the trader's all the same.
    market.done(who, "addMargin", DOLLAR)
    market.done(who, "withdraw", market.balance(who))


def test_mango_2022_a_price_pumped_until_the_breaker_trips_pays_nobody(market: Any) -> None:
    """A thin market is pumped: the feed halts, and the pumped price closes no position. What the
    pump could win at the very most had been set aside, and nobody else's collateral is reached."""
    who = market.trader(0)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    others = [market.balance(account) for account in market.accounts if account is not who]
    for dollars in (100_000, 250_000, 500_000):
        assert market.error(market.close(who, dollars, status=4)) == "Halted"
    minute(market)
    assert market.close(who, 25_000 * 3, status=3).succeeded
    most = MARGIN * 5
    assert market.number("pool") >= 1_000_000 * DOLLAR - most
    assert [market.balance(a) for a in market.accounts if a is not who] == others


def test_venus_and_blizz_2022_a_price_that_stopped_does_not_live_on(
    market: Any, perpetual: Any
) -> None:
    """The feed stops at a price far above the market's: nothing opens, closes or borrows at it."""
    who = market.trader(0)
    stopped = market.report(50_000)
    assert market.oracle.push(stopped).succeeded
    market.chain.mine(timestamp=market.chain.head.timestamp + perpetual.MAX_AGE_S + 1)
    for reports in ((), (stopped,)):
        refused = market.send(who, "open", -HALF, MARGIN, 0, perpetual.updates(*reports))
        assert market.error(refused) == "Stale"
    # An order to sell at it gets the price of its own report, and none from a feed that halts.
    before = market.balance(who)
    request = market.request(who, "requestOpen", -BITCOIN, 10_000 * DOLLAR, 0)
    assert market.settle(market.trader(1), request, 50_000, status=4).succeeded
    assert market.position(who).size == 0
    assert market.balance(who) == before - FEE


def test_pyth_btc_2021_a_price_as_uncertain_as_that_is_no_price(market: Any) -> None:
    """5,402 dollars, with a confidence that said how bad it was, liquidated positions."""
    who = market.trader(0)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    # m · 2^e parts per million: 200 · 2^10 are 20 per cent; all ones are unknown.
    for confidence in (200 << 4 | 10, 0xFFF):
        refused = market.liquidate(market.trader(1), who, 5_402, confidence=confidence)
        assert market.error(refused) == "Uncertain"
    assert market.position(who).size == HALF


def test_synthetix_2019_without_enough_sources_there_is_no_price(market: Any) -> None:
    """A feed below its minimum of sources is unavailable, price 0: not a price 1000 times off."""
    refused = market.open(market.trader(0), HALF, MARGIN, 0, status=0, confidence=0xFFF)
    assert market.error(refused) == "Unavailable"


def test_degraded_confidence_counts_against_the_trader(market: Any) -> None:
    who = market.trader(0)
    assert market.error(market.open(who, HALF, MARGIN, 50_000, status=3)) == "NotLive"
    before = market.balance(who)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    minute(market)
    # 250 · 2^4 = 4000 ppm: 200 dollars a bitcoin, so half of it brings 100 less.
    assert market.close(who, 50_000, status=3, confidence=250 << 4 | 4).succeeded
    assert market.balance(who) == before - 102_500_000


def test_a_carried_price_liquidates_nobody(market: Any) -> None:
    who = market.trader(0)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    # Counted as older by the epoch's carry, 3 s: still young enough for the market's 5 s.
    refused = market.liquidate(market.trader(1), who, 40_000, status=2)
    assert market.error(refused) == "NotLive"
    assert market.error(market.open(market.trader(1), HALF, MARGIN, 50_000, status=2)) == "NotLive"
    minute(market)
    assert market.close(who, 50_000, status=2).succeeded


def test_p6_a_feed_that_died_leaves_nobody_locked_in(market: Any, perpetual: Any) -> None:
    who, other, week = market.trader(0), market.trader(1), 7 * 86_400
    before = market.balance(who)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    assert market.error(market.send(other, "doubt")) == "NotDead"
    unwind = ("unwind", perpetual.account(who))
    assert market.error(market.send(other, *unwind)) == "NotDead"
    # A loser cannot have a living feed taken for dead: anyone can bring a report.
    market.chain.mine(timestamp=market.chain.head.timestamp + 60)
    market.done(who, "doubt")
    market.chain.mine(timestamp=market.chain.head.timestamp + week - 60)
    assert market.error(market.send(other, *unwind)) == "NotDead"
    # (Of the term of the test's epoch a day is over: its reports are no longer taken.)
    refused = market.send(other, "refresh", perpetual.updates(market.report(40_000)))
    assert market.error(refused) == "Expired"
    market.chain.mine(timestamp=market.chain.head.timestamp + 60)
    receipt = market.send(other, *unwind)
    assert receipt.succeeded, market.error(receipt)
    assert market.balance(who) == before
    assert market.error(market.send(other, *unwind)) == "Refused(NoPosition)"


def test_p6_a_price_ends_the_doubt(market: Any, perpetual: Any) -> None:
    who, other = market.trader(0), market.trader(1)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    market.chain.mine(timestamp=market.chain.head.timestamp + 60)
    for way in ("refresh", "trade", "settle"):
        market.chain.mine(timestamp=market.chain.head.timestamp + 60)
        market.done(who, "doubt")
        assert market.number("deadAt") != 0
        assert market.error(market.send(who, "doubt")) == "NotDead"
        if way == "refresh":
            market.done(other, "refresh", perpetual.updates(market.report(50_000)))
        elif way == "trade":
            assert market.open(other, BITCOIN // 10, MARGIN, 50_000).succeeded
        else:
            request = market.request(who, "requestClose", 0)
            assert market.settle(other, request, 50_000).succeeded
        assert market.number("deadAt") == 0


# Gain without risk.


@pytest.mark.parametrize("dollars", [50_000, 44_200, 40_900, 30_000])
def test_self_liquidation_gains_nothing(market: Any, perpetual: Any, dollars: int) -> None:
    """P5: alone or by a second account, a trader gets what closing would have brought it."""
    outcomes = []
    for way in ("close", "alone", "second"):
        made = perpetual.make_market(market.kit)
        who, second = made.trader(0), made.trader(1)
        assert made.open(who, HALF, MARGIN, 50_000).succeeded
        minute(made)
        if way == "close":
            receipt = made.close(who, dollars)
        else:
            receipt = made.liquidate(who if way == "alone" else second, who, dollars)
        if not receipt.succeeded:
            assert made.error(receipt) == "NotLiquidatable"
            continue
        outcomes.append(made.balance(who) + made.balance(second))
        made.check()
    assert len(set(outcomes)) == 1


def test_rounding_dust_wins_nothing(market: Any) -> None:
    """P3: trades of the smallest sizes, at prices that divide badly, never win a unit."""
    for size in (1, -1, 7, -13):
        for dollars in (0.0000001, 0.3333333, 49_999.9999999):
            who = market.trader(0)
            before = market.balance(who)
            receipt = market.open(who, size, 10 * DOLLAR, dollars, confidence=0)
            assert receipt.succeeded, market.error(receipt)
            assert market.close(who, dollars, confidence=0).succeeded
            assert market.balance(who) <= before
    refused = market.open(market.trader(0), 1, 10 * DOLLAR - 1, 50_000)
    assert market.error(refused) == "Refused(MarginTooSmall)"


def test_too_little_margin_or_too_much_size_opens_nothing(market: Any) -> None:
    who = market.trader(0)
    for size, margin in ((HALF, 2_500 * DOLLAR), (0, MARGIN), (-(1 << 127), MARGIN)):
        assert market.error(market.open(who, size, margin, 50_000)) == "Refused(MarginTooSmall)"
    for size in ((1 << 127) - 1, -(1 << 127) + 1):
        assert market.error(market.open(who, size, MARGIN, 50_000)) == "Refused(MarginTooSmall)"
    assert market.error(market.open(who, HALF, MARGIN, 50_000, 50_000 * UNIT)) == (
        "Refused(BeyondLimit)"
    )
    assert market.error(market.send(who, "addMargin", 1)) == "Refused(NoPosition)"
    assert market.error(market.send(who, "withdraw", 1 << 255)) == "BalanceTooSmall"


def test_an_order_of_any_size_settles_or_is_refunded(market: Any) -> None:
    """No order can be made that reverts when it is settled, and stays for ever."""
    who = market.trader(0)
    for size in ((1 << 127) - 1, -(1 << 127) + 1, 1, -1):
        before = market.balance(who)
        limit = (1 << 128) - 1 if size > 0 else 0
        request = market.request(who, "requestOpen", size, 10 * DOLLAR, limit)
        receipt = market.settle(market.trader(1), request, 28_000_000)
        assert receipt.succeeded, market.error(receipt)
        if abs(size) > 1:
            assert market.balance(who) == before - FEE
            assert market.position(who).size == 0
        else:
            request = market.request(who, "requestClose", 0 if size > 0 else (1 << 128) - 1)
            assert market.settle(market.trader(1), request, 28_000_000).succeeded
            assert market.position(who).size == 0


def test_an_order_to_close_what_was_liquidated_meanwhile_ends(market: Any) -> None:
    who = market.trader(0)
    assert market.open(who, HALF, MARGIN, 50_000).succeeded
    request = market.request(who, "requestClose", 0)
    assert market.liquidate(market.trader(1), who, 40_000).succeeded
    receipt = market.settle(market.trader(1), request, 50_000)
    assert receipt.succeeded, market.error(receipt)
    assert market.number("pendingOf", bytes(12) + who.address) == 0


# A token that calls back.


@pytest.mark.parametrize("inner", ["deposit", "withdraw"])
def test_reentrancy(market: Any, perpetual: Any, inner: str) -> None:
    """A token that calls the market within a deposit: nothing is counted twice."""
    who = market.trader(0)
    mint = keccak(b"mint(address,uint256)")[:4] + abi.encode_word(0)[:12] + who.address
    assert market.chain.transact(market.token, mint + abi.encode_word(500)).succeeded
    call = perpetual.encode(inner, 100)
    hook = keccak(b"hook(address,bytes)")[:4] + bytes(12) + market.address + abi.encode_word(64)
    hook += abi.encode_word(len(call)) + call + bytes(-len(call) % 32)
    assert market.chain.transact(market.token, hook).succeeded
    before = market.balance(who)
    market.done(who, "deposit", 500)
    assert market.balance(who) == before + 500
    outcome = market.chain.call(market.token, keccak(b"outcome()")[:4])
    assert outcome[64:68] == keccak(b"Reentered()")[:4]


def test_a_token_that_keeps_a_fee_leaves_no_hole(market: Any, perpetual: Any) -> None:
    made = perpetual.make_market(market.kit, fee_ppm=10_000)
    made.check()
    assert made.balance(made.trader(0)) == 990_000 * DOLLAR
    made.done(made.trader(0), "withdraw", 990_000 * DOLLAR)
    made.check()


def test_the_reasons_are_the_oracles(market: Any, perpetual: Any) -> None:
    """The error of a safe read reaches who trades, with its arguments."""
    who = market.trader(0)
    refused = market.send(who, "open", HALF, MARGIN, perpetual.NO_LIMIT, perpetual.updates())
    assert client.describe_error(refused.output) == "Unavailable(feed=0, status=0)"
