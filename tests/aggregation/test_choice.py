"""What a leader can make of a price by choosing among observations."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from aggregation.choice import choice
from aggregation.median import low_median

prices_of_all = st.lists(st.integers(1, 40), min_size=2, max_size=9)


@given(prices_of_all, st.data())
def test_choices_without_regard_to_prices_balance_exactly(
    prices: list[int], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(prices) - 1))
    ranks = []
    for taken in combinations(range(len(prices)), size):
        made = choice(
            [prices[i] for i in taken], [p for i, p in enumerate(prices) if i not in taken]
        )
        ranks.append(0 if made is None else made.rank_ppm)
    # Each is rounded towards zero, by less than one part in a million.
    assert abs(sum(ranks)) < len(ranks)
    assert all(-500_000 <= rank <= 500_000 for rank in ranks)


@given(prices_of_all, st.data())
def test_a_choice_does_not_depend_on_the_order(prices: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(prices) - 1))
    included, left_out = prices[:size], prices[size:]
    shuffled = choice(data.draw(st.permutations(included)), data.draw(st.permutations(left_out)))
    assert shuffled == choice(included, left_out)


@given(prices_of_all, st.data())
def test_there_is_no_choice_where_every_set_has_one_price(
    prices: list[int], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(prices) - 1))
    possible = {low_median(taken) for taken in combinations(prices, size)}
    made = choice(prices[:size], prices[size:])
    assert (made is None) == (len(possible) == 1)
    if made is not None:
        agreed = low_median(prices[:size])
        assert (made.rank_ppm < 0) >= (agreed == min(possible))
        assert (made.rank_ppm > 0) >= (agreed == max(possible))


def test_all_included_is_no_choice() -> None:
    assert choice([3, 1, 2], []) is None


def test_the_shift_is_measured_from_the_low_median_of_all() -> None:
    made = choice([100_000, 100_010, 100_020], [99_000])
    assert made is not None
    assert made.shift_ppb == 10 * 1_000_000_000 // 100_000
    assert made.rank_ppm == 250_000
    lower = choice([99_000, 100_000, 100_010], [100_020])
    assert lower is not None
    assert (lower.shift_ppb, lower.rank_ppm) == (0, -250_000)
