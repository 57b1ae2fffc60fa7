"""Whatever traders, keepers, the backer and prices do in any order, the market can pay (P1, P2)."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

DOLLAR = 10**6
BITCOIN = 10**8
UNIT = 10**7

WHO = st.integers(0, 2)
SIZES = st.one_of(
    st.integers(-BITCOIN // 2, BITCOIN // 2), st.sampled_from([1, -1, 3 * BITCOIN, -3 * BITCOIN])
)
MARGINS = st.integers(9 * DOLLAR, 30_000 * DOLLAR)
STATUSES = st.sampled_from([1, 1, 1, 1, 2, 3, 4, 0])
CONFIDENCES = st.sampled_from([0, 0x640, 250 << 4 | 4, 250 << 4 | 8, 0xFFF])
DOLLARS = st.one_of(
    st.floats(20_000, 90_000, allow_nan=False), st.sampled_from([0.0000001, 50_000, 10**6])
)


def machine(kit: Any, perpetual: Any) -> type[RuleBasedStateMachine]:
    class Traded(RuleBasedStateMachine):
        requests = Bundle("requests")
        done = 0

        @initialize()
        def begin(self) -> None:
            self.market = perpetual.make_market(kit)

        def count(self, receipt: Any) -> None:
            type(self).done += receipt.succeeded
            if not receipt.succeeded:
                # A refusal has a reason: no overflow and no failed assertion.
                name = self.market.error(receipt)
                assert not name.startswith("0x"), name

        @rule(who=WHO, size=SIZES, margin=MARGINS, dollars=DOLLARS, status=STATUSES, c=CONFIDENCES)
        def open(
            self, who: int, size: int, margin: int, dollars: float, status: int, c: int
        ) -> None:
            trader = self.market.trader(who)
            receipt = self.market.open(trader, size, margin, dollars, status=status, confidence=c)
            self.count(receipt)

        @rule(who=WHO, dollars=DOLLARS, status=STATUSES, c=CONFIDENCES)
        def close(self, who: int, dollars: float, status: int, c: int) -> None:
            trader = self.market.trader(who)
            self.count(self.market.close(trader, dollars, status=status, confidence=c))

        @rule(by=WHO, who=WHO, dollars=DOLLARS, status=STATUSES, c=CONFIDENCES)
        def liquidate(self, by: int, who: int, dollars: float, status: int, c: int) -> None:
            market = self.market
            by_, of = market.trader(by), market.trader(who)
            self.count(market.liquidate(by_, of, dollars, status=status, confidence=c))

        @rule(target=requests, who=WHO, size=SIZES, margin=MARGINS)
        def request_open(self, who: int, size: int, margin: int) -> Any:
            limit = perpetual.NO_LIMIT if size > 0 else 0
            return self.requested(who, "requestOpen", size, margin, limit)

        @rule(target=requests, who=WHO)
        def request_close(self, who: int) -> Any:
            short = self.market.position(self.market.trader(who)).size < 0
            return self.requested(who, "requestClose", perpetual.NO_LIMIT if short else 0)

        def requested(self, who: int, function: str, *arguments: int) -> Any:
            from contracts import settlement

            receipt = self.market.send(self.market.trader(who), function, *arguments)
            self.count(receipt)
            if not receipt.succeeded:
                return multiple()
            (log,) = receipt.logs
            return settlement.decode_requested(list(log.topics), log.data)

        @rule(request=consumes(requests), by=WHO, dollars=DOLLARS, status=STATUSES, c=CONFIDENCES)
        def settle(self, request: Any, by: int, dollars: float, status: int, c: int) -> None:
            market = self.market
            market.branch = market.kit.Branch(market.oracle.committee)
            on_time = market.chain.head.timestamp * 1000 < request.deadline_ms
            receipt = market.settle(
                market.trader(by), request, dollars, status=status, confidence=c
            )
            self.count(receipt)
            assert receipt.succeeded or not on_time, market.error(receipt)

        @rule(request=consumes(requests), by=WHO)
        def expire(self, request: Any, by: int) -> None:
            market = self.market
            market.wait_until(request.deadline_ms + 1_000)
            receipt = market.expire(market.trader(by), request)
            self.count(receipt)
            assert receipt.succeeded

        @rule(amount=st.integers(0, 1_100_000 * DOLLAR), out=st.booleans())
        def back(self, amount: int, out: bool) -> None:
            market = self.market
            self.count(market.send(market.backer, "defund" if out else "fund", amount))

        @rule(who=WHO, amount=st.integers(0, 500_000 * DOLLAR), add=st.booleans())
        def move(self, who: int, amount: int, add: bool) -> None:
            market = self.market
            function = "addMargin" if add else "withdraw"
            self.count(market.send(market.trader(who), function, amount))

        @invariant()
        def solvent(self) -> None:
            if hasattr(self, "market"):
                self.market.check()

        def teardown(self) -> None:
            """The feed dies, everyone leaves, and everyone is paid to the last unit (P6)."""
            market = self.market
            market.chain.mine(timestamp=market.chain.head.timestamp + 1_000)
            assert market.send(market.backer, "doubt").succeeded or market.number("deadAt")
            market.chain.mine(timestamp=market.chain.head.timestamp + 7 * 86_400)
            for who in map(market.trader, range(3)):
                order = market.number("pendingOf", perpetual.account(who))
                if order:
                    market.done(who, "expire", order)
                if market.position(who).size:
                    market.done(who, "unwind", perpetual.account(who))
            market.check()
            market.done(market.backer, "defund", market.number("pool"))
            for who in market.accounts:
                market.done(who, "withdraw", market.balance(who))
            assert market.held() == 0

    return Traded


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(8, 15), pytest.param(25, 25, marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_p1_p2_the_market_can_always_pay(
    kit: Any, perpetual: Any, examples: int, steps: int
) -> None:
    traded = machine(kit, perpetual)
    run_state_machine_as_test(
        traded,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert traded.done > examples  # type: ignore[attr-defined]
