"""A perpetual market: what a trader pays and gets, small and large (P1-P5)."""

from typing import Any

import pytest

DOLLAR = 10**6
BITCOIN = 10**8
UNIT = 10**7
FEE = DOLLAR


def test_a_small_trade_wins_what_the_price_moved_less_the_confidence_twice(market: Any) -> None:
    who = market.trader(0)
    before = market.balance(who)
    receipt = market.open(who, BITCOIN // 2, 4_000 * DOLLAR, 50_000)
    assert receipt.succeeded, market.error(receipt)
    print(f"open, with a report: {receipt.gas_used:,} gas")
    # 100 ppm of 50,000 dollars is 5 dollars, for half a bitcoin 2.50.
    position = market.position(who)
    assert (position.size, position.margin) == (BITCOIN // 2, 4_000 * DOLLAR)
    assert position.entry == 25_002_500_000
    assert position.reserve == 20_000 * DOLLAR
    market.wait_until((market.chain.head.timestamp + 60) * 1000)
    market.chain.mine()
    receipt = market.close(who, 51_000)
    assert receipt.succeeded, market.error(receipt)
    print(f"close, with a report: {receipt.gas_used:,} gas")
    gain = (51_000 - 5.1) / 2 - 25_002.5
    assert market.balance(who) == before + round(gain * DOLLAR)


def test_a_short_wins_when_the_price_falls(market: Any) -> None:
    who = market.trader(0)
    before = market.balance(who)
    assert market.open(who, -BITCOIN // 2, 4_000 * DOLLAR, 50_000).succeeded
    market.chain.mine(timestamp=market.chain.head.timestamp + 60)
    assert market.close(who, 49_000).succeeded
    gain = (50_000 - 5) / 2 - (49_000 + 4.9) / 2
    assert market.balance(who) == before + round(gain * DOLLAR)


def test_without_an_update_the_stored_answer_counts(market: Any, perpetual: Any) -> None:
    who = market.trader(0)
    assert market.oracle.push(market.report(50_000)).succeeded
    none = perpetual.updates()
    receipt = market.send(who, "open", BITCOIN // 10, 1_000 * DOLLAR, perpetual.NO_LIMIT, none)
    assert receipt.succeeded, market.error(receipt)
    print(f"open, at what is stored: {receipt.gas_used:,} gas")


def test_what_is_not_small_is_settled_in_two_steps(market: Any, perpetual: Any) -> None:
    who, keeper = market.trader(0), market.trader(1)
    assert market.error(market.open(who, 2 * BITCOIN, 20_000 * DOLLAR, 50_000)) == "NotSmall"
    before, kept = market.balance(who), market.balance(keeper)
    request = market.request(who, "requestOpen", 2 * BITCOIN, 20_000 * DOLLAR, 60_000 * UNIT)
    assert market.balance(who) == before - 20_000 * DOLLAR - FEE
    market.check()
    receipt = market.settle(keeper, request, 50_000)
    assert receipt.succeeded, market.error(receipt)
    print(f"settle an order to open: {receipt.gas_used:,} gas")
    assert market.position(who).entry == 100_010 * DOLLAR
    assert market.balance(keeper) == kept + FEE
    request = market.request(who, "requestClose", 0)
    receipt = market.settle(keeper, request, 55_000)
    assert receipt.succeeded, market.error(receipt)
    print(f"settle an order to close: {receipt.gas_used:,} gas")
    assert market.position(who).size == 0
    assert market.balance(who) == before + round(2 * (55_000 - 5.5) * DOLLAR) - 100_010 * DOLLAR - (
        2 * FEE
    )


def test_small_trades_of_a_minute_share_one_limit_whoever_makes_them(market: Any) -> None:
    """Splitting over trades or accounts gains nothing."""
    market.chain.mine(timestamp=(market.chain.head.timestamp // 60 + 1) * 60)
    assert market.open(market.trader(0), BITCOIN // 2, 4_000 * DOLLAR, 50_000).succeeded
    refused = market.open(market.trader(1), BITCOIN // 2, 4_000 * DOLLAR, 50_000)
    assert market.error(refused) == "NotSmall"
    # Closing counts too: with this the limit is reached to the cent.
    assert market.close(market.trader(0), 50_000).succeeded
    refused = market.open(market.trader(1), BITCOIN // 1000, 10 * DOLLAR, 50_000)
    assert market.error(refused) == "NotSmall"
    market.chain.mine(timestamp=(market.chain.head.timestamp // 60 + 1) * 60)
    assert market.open(market.trader(1), BITCOIN // 2, 4_000 * DOLLAR, 50_000).succeeded


@pytest.mark.parametrize(
    ("dollars", "limit", "refusal"), [(70_000, 60_000, "limit"), (50_000, 60_000, "")]
)
def test_an_order_beyond_its_limit_is_refunded(
    market: Any, dollars: int, limit: int, refusal: str
) -> None:
    who, keeper = market.trader(0), market.trader(1)
    before = market.balance(who)
    request = market.request(who, "requestOpen", BITCOIN, 10_000 * DOLLAR, limit * UNIT)
    assert market.settle(keeper, request, dollars).succeeded
    if refusal:
        assert market.position(who).size == 0
        assert market.balance(who) == before - FEE
    else:
        assert market.position(who).size == BITCOIN


@pytest.mark.parametrize("status", [0, 2, 3, 4])
def test_an_order_at_a_feed_that_is_not_live_is_refunded_to_the_cent(
    market: Any, status: int
) -> None:
    who, keeper = market.trader(0), market.trader(1)
    before = market.balance(who)
    request = market.request(who, "requestOpen", BITCOIN, 10_000 * DOLLAR, 60_000 * UNIT)
    assert market.settle(keeper, request, 50_000, status=status).succeeded
    assert market.balance(who) == before - FEE
    assert market.position(who).size == 0


def test_an_order_that_nobody_settles_expires_with_its_fee(market: Any) -> None:
    who = market.trader(0)
    before = market.balance(who)
    request = market.request(who, "requestOpen", BITCOIN, 10_000 * DOLLAR, 60_000 * UNIT)
    market.wait_until(request.deadline_ms)
    assert market.error(market.expire(market.trader(1), request)) == "NotYetExpired"
    market.wait_until(request.deadline_ms + 1_000)
    assert market.expire(market.trader(1), request).succeeded
    assert market.balance(who) == before


def test_a_position_below_its_maintenance_margin_is_liquidated(market: Any) -> None:
    who, keeper = market.trader(0), market.trader(1)
    assert market.open(who, BITCOIN // 2, 4_000 * DOLLAR, 50_000).succeeded
    # 25,002.50 bought; at 44,300 it brings 22,147.785, which leaves 1,145.285 of 1,107.39 needed.
    assert market.error(market.liquidate(keeper, who, 44_300)) == "NotLiquidatable"
    before, kept, pool = market.balance(who), market.balance(keeper), market.number("pool")
    receipt = market.liquidate(keeper, who, 44_200)
    assert receipt.succeeded, market.error(receipt)
    print(f"liquidate, with a report: {receipt.gas_used:,} gas")
    value = 22_100 * DOLLAR - 2_210_000
    left = 4_000 * DOLLAR - (25_002_500_000 - value)
    fee = value * 5_000 // 10**6
    assert market.balance(keeper) == kept + fee
    assert market.balance(who) == before + left - fee
    assert market.number("pool") == pool + 4_000 * DOLLAR - left


def test_a_position_that_lost_more_than_its_margin_costs_nobody_else(market: Any) -> None:
    who, keeper = market.trader(0), market.trader(1)
    assert market.open(who, BITCOIN // 2, 4_000 * DOLLAR, 50_000).succeeded
    others = [market.balance(account) for account in market.accounts]
    pool = market.number("pool")
    receipt = market.liquidate(keeper, who, 30_000)
    assert receipt.succeeded, market.error(receipt)
    assert market.number("pool") == pool + 4_000 * DOLLAR
    assert [market.balance(account) for account in market.accounts] == others
    assert market.position(who).size == 0


def test_margin_added_keeps_a_position(market: Any) -> None:
    who = market.trader(0)
    assert market.open(who, BITCOIN // 2, 4_000 * DOLLAR, 50_000).succeeded
    reserve = market.position(who).reserve
    market.done(who, "addMargin", 1_000 * DOLLAR)
    assert market.error(market.liquidate(market.trader(1), who, 44_000)) == "NotLiquidatable"
    assert market.position(who).reserve == reserve


def test_the_backer_takes_only_what_no_position_could_win(market: Any) -> None:
    assert market.open(market.trader(0), BITCOIN // 2, 4_000 * DOLLAR, 50_000).succeeded
    pool = market.number("pool")
    backer = market.backer
    refused = market.send(backer, "defund", pool - 20_000 * DOLLAR + 1)
    assert market.error(refused) == "BalanceTooSmall"
    market.done(backer, "defund", pool - 20_000 * DOLLAR)
    for function in ("fund", "defund"):
        assert market.error(market.send(market.trader(0), function, 1)) == "NotBacker"
    # Nothing is left for another to win.
    refused = market.open(market.trader(1), BITCOIN // 10, 1_000 * DOLLAR, 50_000)
    assert market.error(refused) == "PoolTooSmall"
    # Profit ends at what is set aside, and that is there.
    before = market.balance(market.trader(0))
    market.chain.mine(timestamp=market.chain.head.timestamp + 60)
    assert market.close(market.trader(0), 95_000).succeeded
    assert market.balance(market.trader(0)) == before + 24_000 * DOLLAR
    assert market.number("pool") == 0
