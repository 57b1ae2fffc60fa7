"""The accounts of how leaders treat members and prices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import ceil, exp, log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.committee import faulty_max, quorum
from node.fairness.accounts import Alarm, Changes, FairnessAccounts
from node.fairness.arrivals import VIEWS_KEPT, Arrivals
from node.fairness.bias import TURNS_TO_ALARM as BIAS_TURNS
from node.fairness.bias import Bias
from node.fairness.inclusion import (
    CHANCE,
    INCLUDED,
    OMITTED,
    OWN_BLOCKS_TO_ALARM,
    RATIO,
    TURNS_TO_ALARM,
    Inclusion,
    elsewhere,
)
from node.fairness.rarity import FACTOR_MAX, SCORE_MAX, VIEWS_PER_YEAR, YEARS
from node.fairness.window import SEGMENT_TURNS, SEGMENTS, TURNS_KEPT, Window

GRACE_MS = 50


def rare(steps: int) -> int:
    """Return a score that fair leaders reach once in a thousand runs of so many steps at most."""
    return ceil(10**6 * log(1000 * FACTOR_MAX * steps))


def prices_of(body: bytes) -> Sequence[int]:
    return [int(price) for price in body.split()]


@dataclass
class Committee:
    """Views one after the other, as one node sees them; all observations come at once."""

    n: int
    me: int = 0
    small: bool = True
    view: int = 0
    now_ms: int = 0
    changes: list[Changes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.f = faulty_max(self.n)
        self.accounts = FairnessAccounts(
            self.n,
            self.f,
            quorum(self.n),
            self.me,
            small=self.small,
            grace_ms=GRACE_MS,
            prices_of=prices_of,
        )

    def turn(
        self,
        leader: int,
        left_out: Iterable[int] = (),
        *,
        prices: Sequence[int] | None = None,
        late: Iterable[int] = (),
        live: bool = True,
    ) -> Changes:
        """Let a leader make the next final block without some members' observations."""
        accounts, view = self.accounts, self.view + 1
        self.view = view
        self.now_ms += 250
        missing, slow = set(left_out), set(late)
        bodies = {m: str(100 + m if prices is None else prices[m]).encode() for m in range(self.n)}
        accounts.entered(view, False, self.now_ms)
        accounts.sent(view)
        for member in range(self.n):
            delay_ms = 60 if member in slow else 2
            accounts.heard(view, member, bodies[member], self.now_ms + delay_ms)
        block_id = view.to_bytes(32, "big")
        if live:
            accounts.proposed(view, block_id, self.now_ms + 52)
        taken = [(m, body) for m, body in bodies.items() if m not in missing]
        change = accounts.committed(view, block_id, leader, taken)
        self.changes.append(change)
        return change

    def turns_of_all(self) -> Iterable[int]:
        return range(self.n)

    def until_alarm(
        self, leader: int, censored: int, limit: int = 1000, kind: str | None = None
    ) -> int:
        """Return after how many of a censoring leader's turns there is an alarm (of a kind)."""
        for turn in range(1, limit):
            for other in self.turns_of_all():
                left_out = (censored,) if other == leader else ()
                raised = self.turn(other, left_out).raised
                if any(kind in (None, alarm.kind) for alarm in raised):
                    return turn
        raise AssertionError("no alarm")


@pytest.mark.parametrize("n", [4, 5, 7, 10])
def test_a_leader_that_always_leaves_a_member_out_is_found_in_the_promised_turns(n: int) -> None:
    committee = Committee(n)
    assert committee.until_alarm(leader=2, censored=1, kind="left_out") == TURNS_TO_ALARM
    # Whoever always lacks one member has bent prices too, if that one is dear or cheap.
    assert [a for a in committee.accounts.alarms if a.kind != "price_bias"] == [
        Alarm("left_out", 2, 1)
    ]
    assert {alarm.leader for alarm in committee.accounts.alarms} == {2}


def test_it_is_found_as_soon_after_a_long_honest_time() -> None:
    committee = Committee(4)
    for _ in range(600):
        for leader in range(4):
            committee.turn(leader)
    assert committee.until_alarm(leader=3, censored=1) == TURNS_TO_ALARM


def test_a_leader_that_leaves_the_others_out_in_rotation_is_found() -> None:
    committee = Committee(4)
    for turn in range(240):
        for leader in range(4):
            left_out = [1 + turn % 3] if leader == 0 else []
            committee.turn(leader, left_out)
    left_out = [a for a in committee.accounts.alarms if a.kind in ("left_out", "own_left_out")]
    assert {alarm.leader for alarm in committee.accounts.alarms} == {0}
    assert {alarm.member for alarm in left_out} == {1, 2, 3}


def test_f_leaders_that_censor_together_are_all_found() -> None:
    committee = Committee(10)
    for _ in range(4 * TURNS_TO_ALARM):
        for leader in range(10):
            committee.turn(leader, [9] if leader in (3, 4, 5) else [])
    left_out = [alarm for alarm in committee.accounts.alarms if alarm.kind == "left_out"]
    assert left_out == [Alarm("left_out", leader, 9) for leader in (3, 4, 5)]


def test_an_alarm_ends_when_the_leader_is_fair_again() -> None:
    committee = Committee(4)
    committee.until_alarm(leader=2, censored=1)
    ended = [
        change.ended for _ in range(240) for leader in range(4)
        if (change := committee.turn(leader)).ended
    ]  # fmt: skip
    assert ended == [(Alarm("left_out", 2, 1),)]
    assert committee.accounts.alarms == ()


def test_a_member_that_all_leaders_leave_out_accuses_none_of_them() -> None:
    committee = Committee(4)
    for _ in range(200):
        for leader in range(4):
            committee.turn(leader, [3] if leader != 3 else [])
    assert committee.accounts.alarms == ()
    view = committee.accounts.view(["a", "b", "c", "d"], ["X/Y"])
    assert view.members[3].included * 4 == view.members[3].blocks


def test_own_omission_has_a_message_of_its_own() -> None:
    committee = Committee(4, me=1)
    committee.until_alarm(leader=2, censored=1)
    assert committee.accounts.alarms == (Alarm("own_left_out", 2, 1),)
    [alarm] = committee.accounts.view(["a", "me", "c", "d"], ["X/Y"]).alarms
    assert alarm.text.startswith("my observations are left out by c")


@pytest.mark.parametrize("n", [4, 31])
def test_a_node_that_most_leaders_leave_out_is_told_to_look_at_itself(n: int) -> None:
    committee = Committee(n, me=1, small=n <= 10)
    blocks = 0
    while not committee.accounts.alarms:
        for leader in range(n):
            blocks += leader != 1 and not committee.accounts.alarms
            # Late by its own clock: it does not come in time anywhere.
            committee.turn(leader, [1] if leader != 1 else [], late=[1])
    assert committee.accounts.alarms == (Alarm("own_left_out_by_most", None, 1),)
    assert blocks == OWN_BLOCKS_TO_ALARM


def test_in_a_large_committee_a_node_judges_only_how_it_is_treated_itself() -> None:
    committee = Committee(13, me=4, small=False)
    for _ in range(TURNS_TO_ALARM):
        for leader in range(13):
            committee.turn(leader, [4, 5] if leader == 7 else [])
    assert committee.accounts.alarms == (Alarm("own_left_out", 7, 4),)
    names = [f"m{i}" for i in range(13)]
    view = committee.accounts.view(names, [])
    assert {pair.member for pair in view.pairs} == {"m4"}
    assert len(view.pairs) == 12
    assert view.members[5].blocks - view.members[5].included == TURNS_TO_ALARM


def test_late_observations_and_blocks_that_were_fetched_are_not_omissions() -> None:
    committee = Committee(4)
    for _ in range(100):
        for leader in range(4):
            committee.turn(leader, [1] if leader == 2 else [], late=[1])
            committee.turn(leader, [1] if leader == 2 else [], live=False)
    assert committee.accounts.alarms == ()
    view = committee.accounts.view(["a", "b", "c", "d"], ["X/Y"])
    assert all(pair.omitted == 0 for pair in view.pairs)
    assert [share.turns for share in view.leaders] == [100] * 4


def test_a_leader_that_takes_the_lowest_prices_it_can_is_found() -> None:
    random = Random(5)
    for n in (4, 5, 6, 7, 8, 9, 10):
        for extreme, side in ((min, -1), (max, 1)):
            bias = Bias(n, faulty_max(n))
            turns = 0
            while not bias.biased:
                prices = [10**6 + random.randrange(10**4) * 10 + m for m in range(n)]
                sets = combinations(sorted(prices), quorum(n))
                taken = extreme(sets, key=lambda s: sorted(s)[(len(s) - 1) // 2])
                bias.account(0, [[p] for p in taken], [[p] for p in prices if p not in taken])
                turns += 1
                assert turns <= BIAS_TURNS
            assert bias.biased == {(0, 0, side)}
            print(n, side, turns)


def test_a_leader_that_leaves_out_at_random_does_not_bend_prices() -> None:
    random = Random(7)
    for n in (4, 7, 10):
        bias = Bias(n, faulty_max(n))
        worst = 0
        for _ in range(20_000):
            prices = [10**6 + random.randrange(1000) for _ in range(n)]
            random.shuffle(prices)
            q = quorum(n)
            bias.account(0, [[p] for p in prices[:q]], [[p] for p in prices[q:]])
            worst = max(worst, bias.score(0, 0))
        assert worst < rare(2 * 20_000)
        assert not bias.biased


def test_the_bias_of_one_feed_is_told_with_its_name_and_side() -> None:
    committee = Committee(4)
    raised: list[Alarm] = []
    while not raised:
        for leader in range(4):
            change = committee.turn(leader, [3] if leader == 1 else [], prices=[5, 6, 7, 8])
            raised += [alarm for alarm in change.raised if alarm.kind == "price_bias"]
    assert raised == [Alarm("price_bias", 1, None, 0, -1)]
    shown = committee.accounts.view(["a", "b", "c", "d"], ["BTC/USD"])
    text = next(alarm.text for alarm in shown.alarms if alarm.kind == "price_bias")
    assert (
        text == "b takes such observations that the price of BTC/USD becomes lower than by chance"
    )
    [shift] = shown.shifts
    assert (shift.choices, shift.lower, shift.higher) == (shift.turns, shift.turns, 0)


# How rare false alarms are.


def factor(score: int) -> float:
    return exp(score / 10**6)


@pytest.mark.parametrize("n", [4, 5, 7, 10, 13, 31, 128])
def test_over_a_turn_of_each_leader_a_fair_ones_factors_are_at_most_1_on_average(n: int) -> None:
    debit = factor(elsewhere(n - 2))
    averages = []
    for step in range(10_001):
        others = step / 10_000
        own = min(1.0, CHANCE + RATIO * others)
        mean = own * factor(OMITTED) + (1 - own) * factor(INCLUDED)
        averages.append(mean * (1 - others * (1 - debit)) ** (n - 2))
    # And no debit is greater than it has to be.
    assert 0.999 < max(averages) <= 1


@given(
    st.lists(st.integers(1, 8), min_size=4, max_size=10),
    st.integers(3, 9),
    st.sampled_from([4, 5, 7, 10]),
)
def test_a_choice_without_regard_to_prices_adds_nothing_on_average(
    prices: list[int], size: int, n: int
) -> None:
    """Every choice of as many of the given prices is as likely as any other."""
    taken = list(combinations(range(len(prices)), min(size, len(prices) - 1)))
    for side in (-1, 1):
        factors = []
        for chosen in taken:
            bias = Bias(n, 0)
            # Enough to begin with, so that what is subtracted shows.
            bias._scores = {(0, 0, s): SCORE_MAX // 2 for s in (-1, 1)}
            included = [[prices[i]] for i in chosen]
            left_out = [[price] for i, price in enumerate(prices) if i not in chosen]
            bias.account(0, included, left_out)
            left = bias._scores.get((0, 0, side), SCORE_MAX // 2)  # No choice: no score.
            factors.append(factor(left - SCORE_MAX // 2))
        assert sum(factors) / len(factors) <= 1 + 1e-6


@pytest.mark.parametrize(("n", "others"), [(4, 0.0), (4, 0.1), (4, 0.3), (7, 0.1)])
def test_fair_leaders_reach_a_score_as_rarely_as_is_promised(n: int, others: float) -> None:
    """The worst that still is fair, against a limit that is low enough to be reached."""
    random, nats, cycles = Random(n), 4, 4_000
    rates = dict.fromkeys(range(2, n), others) | {0: CHANCE + RATIO * others}
    reached = {1.0: 0, 2.0: 0}
    for unfair in reached:
        accounts = Inclusion(n, None, small=True)
        for _ in range(cycles):
            for leader, rate in rates.items():
                rate *= unfair if leader == 0 else 1
                missing = {1} if random.random() < rate else set[int]()
                accounts.account(leader, set(range(n)) - missing, range(n))
            if accounts.score(0, 1) >= nats * 10**6:
                reached[unfair] += 1
                accounts._scores[0, 1] = 0
    most = cycles * FACTOR_MAX * exp(-nats)
    assert reached[1.0] <= most
    print(f"n = {n}, others {others}: {reached} of {most:.0f}")
    assert reached[2.0] > reached[1.0]


def test_the_limit_is_that_of_one_false_alarm_in_a_hundred_years_of_a_leader() -> None:
    assert exp(SCORE_MAX / 10**6) / FACTOR_MAX >= YEARS * VIEWS_PER_YEAR
    # This node's own alarm: with three of eight missing by chance its factors are 1 on average.
    assert 3 / 8 * 5 / 3 + 5 / 8 * 3 / 5 == 1
    assert (5 / 3) ** OWN_BLOCKS_TO_ALARM / (5 / 3) >= YEARS * VIEWS_PER_YEAR


def test_where_all_leave_out_much_a_leader_is_allowed_as_much_of_any_member() -> None:
    """Delays beyond the grace: who is left out by whom depends on the order of leaders."""
    random, accounts = Random(3), Inclusion(4, 0, small=True)
    late = {(1, 3), (2, 1), (2, 3), (3, 1), (3, 2)}
    worst = 0
    for _ in range(4_000):
        for leader in range(4):
            missing = {m for m in range(4) if (leader, m) in late and random.random() < 0.22}
            accounts.account(leader, set(range(4)) - missing, range(4))
            worst = max(worst, *(accounts.score(*pair) for pair in late))
    assert not accounts.left_out
    assert worst < SCORE_MAX // 2
    # One that leaves a member out always is found all the same.
    for _ in range(4 * TURNS_TO_ALARM):
        for leader in range(4):
            missing = {m for m in range(4) if (leader, m) in late and random.random() < 0.22}
            missing |= {2} if leader == 1 else set()
            accounts.account(leader, set(range(4)) - missing, range(4))
    assert accounts.left_out == {(1, 2)}


@pytest.mark.parametrize(("every", "turns"), [(1, 35), (2, 90), (4, 350)])
def test_a_leader_that_leaves_out_now_and_then_is_found_in_time(every: int, turns: int) -> None:
    inclusion = Inclusion(4, None, small=True)
    for turn in range(turns):
        for leader in range(4):
            missing = {1} if leader == 2 and turn % every == 0 else set[int]()
            inclusion.account(leader, set(range(4)) - missing, range(4))
    assert inclusion.left_out == {(2, 1)}


turns = st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 3), max_size=1)), max_size=400)


@given(st.integers(1, 12), st.lists(st.integers(0, 11), max_size=300))
def test_whoever_includes_everyone_is_never_accused(n: int, leaders: list[int]) -> None:
    committee = Committee(n, small=n <= 10)
    for leader in leaders:
        assert committee.turn(leader % n).raised == ()
    assert all(pair.score_ppm == 0 for pair in committee.accounts.view("abcdefghijkl", "").pairs)


@given(turns, st.permutations(range(4)))
@settings(deadline=None)
def test_no_member_is_treated_differently_for_its_place(
    blocks: list[tuple[int, set[int]]], places: list[int]
) -> None:
    one, other = Inclusion(4, None, small=True), Inclusion(4, None, small=True)
    for leader, missing in blocks * 4:
        included = set(range(4)) - missing | {leader}
        one.account(leader, included, range(4))
        moved = {places[member] for member in included}
        other.account(places[leader], moved, range(4))
    assert other.left_out == {(places[x], places[m]) for x, m in one.left_out}
    for leader in range(4):
        for member in range(4):
            there = places[leader], places[member]
            assert other.included(*there) == one.included(leader, member)
            assert other.omitted(*there) == one.omitted(leader, member)
            assert leader == member or other.score(*there) == one.score(leader, member)


@given(st.lists(st.integers(-3, 3), max_size=1200))
def test_a_window_is_the_sum_of_its_last_turns(numbers: list[int]) -> None:
    window = Window[str]()
    for number in numbers:
        window.add({"x": number})
    assert TURNS_KEPT - SEGMENT_TURNS < window.turns <= TURNS_KEPT or window.turns == len(numbers)
    assert window.total("x") == sum(numbers[len(numbers) - window.turns :])
    assert len(window._segments) <= SEGMENTS
    assert set(window.nonzero()) == ({"x"} if window.total("x") else set())


# What came in time.


def arrivals(quorum: int = 3) -> Arrivals:
    kept = Arrivals(quorum, GRACE_MS)
    kept.entered(9, False, 900)
    kept.entered(10, False, 1000)
    return kept


def test_in_time_is_half_the_grace_after_a_quorum_was_here() -> None:
    kept = arrivals()
    for member, at_ms in enumerate((990, 1005, 1010, 1035, 1036)):
        kept.heard(10, member, b"%d" % member, at_ms)
    kept.proposed(10, b"block", 1060)
    assert kept.in_time(10, b"block") == {0: b"0", 1: b"1", 2: b"2", 3: b"3"}
    assert kept.in_time(10, b"another") is None


def test_a_leader_that_does_not_wait_its_grace_gains_nothing() -> None:
    kept = arrivals()
    for member, at_ms in enumerate((1001, 1002, 1003, 1010)):
        kept.heard(10, member, b"", at_ms)
    kept.proposed(10, b"block", 1005)
    assert set(kept.in_time(10, b"block") or ()) == {0, 1, 2, 3}


def test_a_node_that_was_behind_goes_by_the_proposal() -> None:
    kept = arrivals()
    for member, at_ms in enumerate((1001, 1200, 1225)):
        kept.heard(10, member, b"", at_ms)
    kept.proposed(10, b"block", 1210)
    assert set(kept.in_time(10, b"block") or ()) == {0}


def test_what_was_observed_before_a_timeout_does_not_count() -> None:
    kept = arrivals()
    for member in range(4):
        kept.heard(11, member, b"old", 1010)
    kept.gave_up(10)
    for member in range(3):
        kept.heard(11, member, b"new", 2010)
    kept.gave_up(10)
    kept.entered(11, True, 2020)
    kept.proposed(11, b"block", 2100)
    assert kept.in_time(11, b"block") == {0: b"new", 1: b"new", 2: b"new"}


def test_who_enters_by_others_timeouts_forgets_too() -> None:
    kept = arrivals()
    for member in range(4):
        kept.heard(11, member, b"old", 1010)
    kept.entered(11, True, 1020)
    kept.proposed(11, b"block", 1100)
    assert kept.in_time(11, b"block") == {}


def test_a_repeated_observation_keeps_its_time_and_a_newer_one_replaces_it() -> None:
    kept = arrivals()
    for member in range(3):
        kept.heard(10, member, b"first", 1001)
    kept.heard(10, 0, b"first", 1300)
    kept.heard(10, 1, b"second", 1300)
    kept.heard(10, 3, b"", 1002)
    kept.proposed(10, b"block", 1060)
    assert set(kept.in_time(10, b"block") or ()) == {0, 2, 3}


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 9), st.booleans(), st.binary(max_size=2)),
        max_size=300,
    )
)
def test_memory_is_bounded_whatever_comes(events: list[tuple[int, int, bool, bytes]]) -> None:
    kept = Arrivals(3, GRACE_MS)
    for at_ms, (view, member, enters, body) in enumerate(events):
        if enters:
            kept.entered(view, bool(body), at_ms)
        kept.heard(view, member, body, at_ms)
        kept.sent(view)
        kept.proposed(view, body, at_ms)
        assert len(kept._views) <= VIEWS_KEPT + 4
        assert all(len(seen.proposals) <= 4 for seen in kept._views.values())
