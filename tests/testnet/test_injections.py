"""What a reader may rely on while a venue lies, venues die, a stablecoin falls, or prices jump.

The recorded market through the whole aggregation, without a network; `make bench-risk` measures.
"""

from collections.abc import Iterator
from itertools import combinations

import pytest

from aggregation.alarm import Alarm
from aggregation.status import Status
from testnet.injections import SHAPES, Injection, injections
from testnet.market import Depeg
from testnet.quoted_market import PPM
from testnet.rehearsal import Quiet, Rehearsal, Seen, bitcoin_table

ERROR_BP = 10.0
READABLE = (Status.LIVE, Status.DEGRADED)
VENUES = sorted({s.venue for s in bitcoin_table().feeds[0].sources})
HOUSES = {s.venue: s.house for s in bitcoin_table().feeds[0].sources}
STARTS = [307, 20_011, 33_333]


@pytest.fixture(scope="module")
def usual() -> Rehearsal:
    rehearsal = Rehearsal(8_000)
    rehearsal.warm()
    return rehearsal


def readable(seen: Iterator[Seen]) -> list[Seen]:
    """Return all that was seen, each of it readable and near the truth."""
    rounds = list(seen)
    for number, one in enumerate(rounds):
        assert one.status in READABLE, (number, one)
        assert one.error_bp < ERROR_BP, (number, one)
    return rounds


@pytest.mark.parametrize("factor_ppm", [PPM * 11 // 10, PPM // 2, PPM * 10, PPM * 1_003 // 1_000])
@pytest.mark.parametrize("venue", VENUES)
def test_any_venue_may_lie(usual: Rehearsal, venue: str, factor_ppm: int) -> None:
    house = {name for name in VENUES if HOUSES[name] == HOUSES[venue]}
    seen = readable(
        usual.watch(5, distortion=lambda key, _at: factor_ppm if key[0] in house else PPM)
    )
    assert all(house <= one.apart for one in seen[8:])
    # A venue that lies about USDT as well bends the rate of nobody.
    assert all(one.alarms & {Alarm.OUTLIER, Alarm.SCATTERED} for one in seen[8:])


def test_any_two_venues_may_be_dead(usual: Rehearsal) -> None:
    for dead in combinations(sorted(set(HOUSES.values())), 2):
        gone = frozenset(name for name, house in HOUSES.items() if house in dead)
        seen = readable(usual.watch(36, step_ms=2_000, dead=gone))
        assert seen[-1].alarms & {Alarm.SOURCES_MISSING, Alarm.FEW_SOURCES}, dead


@pytest.mark.parametrize("over_ms", [0, 20_000])
def test_tether_may_fall_to_half(usual: Rehearsal, over_ms: int) -> None:
    seen = readable(usual.watch(40, depeg=Depeg("USDT", 0.5, 0, over_ms)))
    assert Alarm.PEG_LOST in seen[-1].alarms
    assert seen[-1].status is Status.DEGRADED


@pytest.mark.parametrize("name", SHAPES)
def test_what_happens_at_one_venue_is_told_and_moves_no_price(usual: Rehearsal, name: str) -> None:
    trial = usual.trial(Injection(name, "kraken"), watch_s=30)
    assert trial.noticed_s is not None
    assert trial.noticed_s <= (15 if name == "slow drift" else 4)
    assert trial.error_bp < ERROR_BP
    assert trial.warned_s is None


@pytest.mark.parametrize(
    ("name", "within_s"), [("spike", 1), ("step", 1), ("drift", 15), ("burst", 5)]
)
def test_a_move_of_the_whole_market_is_warned_of(
    usual: Rehearsal, name: str, within_s: float
) -> None:
    trial = usual.trial(Injection(name), watch_s=40)
    assert trial.noticed_s is not None
    assert trial.warned_s is not None
    assert trial.warned_s <= within_s


def test_a_step_heals_by_itself(usual: Rehearsal) -> None:
    trial = usual.trial(Injection("step"))
    assert trial.live_again_s is not None
    assert trial.live_again_s < 60


@pytest.mark.slow
def test_false_alarms_are_few_all_month() -> None:
    whole = Quiet()
    for day in range(31):
        rehearsal = Rehearsal(day * 1_440, members=1)
        rehearsal.quiet(600, 30_000)
        whole = whole.plus(rehearsal.quiet(85_800, 30_000))
    assert whole.a_day(whole.degraded) < 2, whole
    assert whole.halted == 0, whole
    assert whole.seconds_not_live * 1_000 < whole.seconds, whole
    assert whole.error_bp < ERROR_BP, whole


@pytest.mark.slow
@pytest.mark.parametrize("start_minute", STARTS)
def test_injections_anywhere_in_the_month(start_minute: int) -> None:
    rehearsal = Rehearsal(start_minute)
    rehearsal.warm()
    for injection in injections("gemini"):
        trial = rehearsal.trial(injection)
        assert trial.noticed_s is not None or injection == Injection("slow drift"), trial
        if injection.venue:
            assert trial.error_bp < ERROR_BP, trial
        elif injection.name in ("spike", "step", "burst"):
            assert trial.warned_s is not None, trial
