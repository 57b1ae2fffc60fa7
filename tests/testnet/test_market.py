"""The simulated market: reproducible, continuous, true to the recording, slow enough to follow."""

import os
import subprocess
import sys
from itertools import pairwise
from statistics import correlation

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testnet.bars import recorded_bars
from testnet.market import BASES, MIDDLE_SCALE, Depeg, Market

ORIGIN_MS = 1_800_000_000_000
MINUTE_MS = 60_000
MONTH = Market(1, ORIGIN_MS, 0)
USUAL = [Market(seed, ORIGIN_MS) for seed in (1, 2, 3)]


def scaled(price: float) -> int:
    return round(price * 10**8) * 10 ** (MIDDLE_SCALE - 8)


def relative_bp(price: int, reference: int) -> float:
    return abs(price / reference - 1) * 1e4


def test_recording_is_whole() -> None:
    bars = recorded_bars()
    assert len(bars) == 45_031
    assert (bars[0].unix_s, bars[0].open) == (1_640_991_660, 46_319.0)
    assert all(later.unix_s - bar.unix_s == 60 for bar, later in pairwise(bars))
    assert all(bar.low <= min(bar.open, bar.close) for bar in bars)
    assert all(bar.high >= max(bar.open, bar.close) for bar in bars)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 3),
    base=st.sampled_from(BASES),
    times=st.lists(st.integers(-(10**8), 10**8), min_size=1, max_size=5),
)
def test_middle_depends_on_seed_origin_and_time_alone(
    seed: int, base: str, times: list[int]
) -> None:
    asked = Market(seed, ORIGIN_MS, 700)
    forwards = [asked.middle(base, ORIGIN_MS + time) for time in times]
    fresh = Market(seed, 0, 700)
    backwards = [fresh.middle(base, time) for time in reversed(times)]
    assert forwards == backwards[::-1]
    assert all(isinstance(price, int) and price > 0 for price in forwards)


def test_another_process_computes_the_same() -> None:
    times = [ORIGIN_MS + 7_777 * step for step in range(50)]
    program = (
        "from testnet.market import BASES, Market\n"
        f"market = Market(9, {ORIGIN_MS})\n"
        f"print([market.middle(base, time) for base in BASES for time in {times}])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
    ).stdout
    market = Market(9, ORIGIN_MS)
    assert printed.strip() == str([market.middle(b, t) for b in BASES for t in times])


def test_seeds_differ_in_start_and_path() -> None:
    assert len({market.start_minute for market in USUAL}) == len(USUAL)
    one, other = Market(1, 0, 100), Market(2, 0, 100)
    assert one.middle("BTC", 90_000_000) != other.middle("BTC", 90_012_345)
    assert one.middle("ETH", 30_000) != other.middle("ETH", 30_000)


def test_btc_closes_each_minute_where_the_recording_does() -> None:
    for index, bar in enumerate(recorded_bars()[:1_500]):
        end_ms = ORIGIN_MS + (index + 1) * MINUTE_MS
        assert MONTH.middle("BTC", end_ms) == scaled(bar.close)


@pytest.mark.parametrize("first", [0, 30_160, 44_900])
def test_btc_reaches_each_minutes_extremes_and_no_further(first: int) -> None:
    bars = recorded_bars()
    for index in range(first, first + 60):
        begin_ms = ORIGIN_MS + index * MINUTE_MS
        path = [MONTH.middle("BTC", begin_ms + step * 250) for step in range(241)]
        start = bars[index - 1].close if index else bars[0].open
        assert min(path) == scaled(min(bars[index].low, start))
        assert max(path) == scaled(max(bars[index].high, start))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("minute", [-1, 0, 1, 12_345, 45_030, 45_031, 45_032, 90_062])
def test_path_never_jumps(base: str, minute: int) -> None:
    edge_ms = ORIGIN_MS + minute * MINUTE_MS
    near = [MONTH.middle(base, edge_ms + offset) for offset in range(-600, 600)]
    assert max(relative_bp(later, price) for price, later in pairwise(near)) < 0.1


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("market", USUAL, ids=lambda market: str(market.seed))
def test_a_quote_300_ms_old_is_within_4_bp(base: str, market: Market) -> None:
    path = [market.middle(base, ORIGIN_MS + step * 100) for step in range(30 * 600)]
    assert max(relative_bp(path[i + 3], path[i]) for i in range(len(path) - 3)) < 4


def test_even_the_wildest_minutes_can_be_followed() -> None:
    bars = recorded_bars()
    wildest = sorted(range(len(bars)), key=lambda index: bars[index].low - bars[index].high)[:20]
    for index in wildest:
        begin_ms = ORIGIN_MS + index * MINUTE_MS
        path = [MONTH.middle("BTC", begin_ms + step * 100) for step in range(600)]
        assert max(relative_bp(path[i + 3], path[i]) for i in range(597)) < 25


@pytest.mark.parametrize("market", USUAL, ids=lambda market: str(market.seed))
def test_a_usual_half_hour_moves_enough_to_be_worth_a_push(market: Market) -> None:
    path = [market.middle("BTC", ORIGIN_MS + step * 1_000) for step in range(1_800)]
    ranges = [max(path[i : i + 60]) / min(path[i : i + 60]) - 1 for i in range(0, 1_800, 60)]
    assert min(ranges) > 0.0004
    assert sum(moved > 0.001 for moved in ranges) >= 8


@pytest.mark.parametrize("base", ["ETH", "SOL"])
def test_others_follow_btc_by_their_own_will(base: str) -> None:
    minutes = range(0, 600)
    followed = [MONTH.middle("BTC", ORIGIN_MS + index * MINUTE_MS) for index in minutes]
    own = [MONTH.middle(base, ORIGIN_MS + index * MINUTE_MS) for index in minutes]
    moves = [later / price - 1 for price, later in pairwise(followed)]
    own_moves = [later / price - 1 for price, later in pairwise(own)]
    assert 0.7 < correlation(moves, own_moves) < 0.98


@pytest.mark.parametrize(("base", "low", "high"), [("ETH", 2_300, 4_200), ("SOL", 80, 210)])
def test_others_stay_plausible_all_month(base: str, low: int, high: int) -> None:
    times = range(ORIGIN_MS, ORIGIN_MS + 45_000 * MINUTE_MS, 150 * MINUTE_MS)
    assert all(scaled(low) < MONTH.middle(base, time) < scaled(high) for time in times)


@pytest.mark.parametrize("base", ["USDT", "USDC"])
def test_stablecoins_come_back_to_one(base: str) -> None:
    path = [MONTH.middle(base, ORIGIN_MS + hour * 1_234_567) for hour in range(300)]
    assert all(relative_bp(price, scaled(1)) < 15 for price in path)
    assert abs(sum(path) / len(path) / scaled(1) - 1) < 0.0005
    assert len(set(path)) > 250


def test_unknown_assets_and_minutes_are_refused() -> None:
    with pytest.raises(ValueError, match="no 'PEPE', only BTC"):
        MONTH.middle("PEPE", ORIGIN_MS)
    for minute in (-1, 45_031):
        with pytest.raises(ValueError, match="between 0 and 45030"):
            Market(1, 0, minute)


def test_a_depeg_takes_its_time_and_leaves_all_else_alone() -> None:
    begun = ORIGIN_MS + 10_000
    fallen = Market(1, ORIGIN_MS, 0, [Depeg("USDT", 0.5, begun, 4_000)])
    for elapsed, factor in ((-1, 1.0), (0, 1.0), (2_000, 0.75), (4_000, 0.5), (10**9, 0.5)):
        whole, left = (market.middle("USDT", begun + elapsed) for market in (MONTH, fallen))
        assert relative_bp(left, round(whole * factor)) < 0.001
    assert fallen.middle("BTC", begun + 9_000) == MONTH.middle("BTC", begun + 9_000)
    at_once = Market(1, ORIGIN_MS, 0, [Depeg("USDT", 0.5, begun)])
    assert at_once.middle("USDT", begun - 1) == MONTH.middle("USDT", begun - 1)
    assert at_once.middle("USDT", begun) < scaled(0.51)


@pytest.mark.parametrize(
    ("asset", "factor", "over_ms"), [("PEPE", 0.5, 0), ("USDT", 0.0, 0), ("USDT", 0.5, -1)]
)
def test_an_impossible_depeg_is_refused(asset: str, factor: float, over_ms: int) -> None:
    with pytest.raises(ValueError, match=r"the market has no|factor|over_ms"):
        Depeg(asset, factor, 0, over_ms)
