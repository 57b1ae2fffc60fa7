"""S3: whatever f members report, every agreed number lies in the range of the honest ones."""

from dataclasses import dataclass
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregation.advance import advance
from aggregation.agreed import Absence, Agreement, agree, agreed_time_ms
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.observation import LACKING, Entry, Observation
from aggregation.price import PRICE_MAX, UINT64_MAX
from aggregation.state import genesis_state
from aggregation.status import Status
from aggregation.table import FeedTable

TABLE = FeedTable(
    (
        FeedSpec(
            "BTC",
            "USD",
            7,
            1,
            2,
            2_000,
            1_000,
            30_000,
            tuple(SourceSpec(venue, "BTC", "USD", 1, 5_000) for venue in ("coinbase", "kraken")),
        ),
    )
)


@dataclass(frozen=True)
class Committee:
    """What the included members say; the honest ones come first."""

    f: int
    honest: list[Entry]
    faulty: list[Entry]


def honest_entries(around: int, spread: int) -> st.SearchStrategy[Entry]:
    prices = st.integers(max(1, around - spread), min(PRICE_MAX, around + spread))
    return st.builds(Entry, prices, st.integers(1, 2**40), st.integers(0, 3))


def any_entries() -> st.SearchStrategy[Entry]:
    extremes = st.sampled_from([1, 2, PRICE_MAX, PRICE_MAX + 1, UINT64_MAX])
    numbers = extremes | st.integers(1, UINT64_MAX)
    confidences = st.just(0) | numbers
    return st.just(LACKING) | st.builds(Entry, numbers, confidences, st.integers(0, 255))


@st.composite
def committees(draw: st.DrawFn) -> Committee:
    """Draw who has a price and who lacks it by number: f liars may then outnumber the priced."""
    n = draw(st.integers(1, 31) | st.integers(4, 7))
    f = (n - 1) // 3
    liars = draw(st.just(f) | st.integers(0, f))
    included = draw(st.integers(max(2 * f + 1 - liars, 1), n - liars))
    few = st.integers(1, max(f, 1)).map(lambda count: min(count, included))
    priced = draw(few | st.integers(0, included) | st.just(included))
    around = draw(st.integers(1, PRICE_MAX))
    spread = draw(st.sampled_from([0, 3, around // 1000 + 1, PRICE_MAX]))
    entries = honest_entries(around, spread)
    honest = draw(st.lists(entries, min_size=priced, max_size=priced))
    # Liars often agree with each other: apart, they cancel out.
    said = draw(st.lists(any_entries(), min_size=liars, max_size=liars))
    faulty = draw(st.sampled_from([said, said[:1] * liars]))
    return Committee(f, honest + [LACKING] * (included - priced), faulty)


# One honest price and one lie are no agreement: that takes 2f+1, not f+1.
OUTVOTED = Committee(1, [Entry(100, 10, 0), LACKING], [Entry(1, 10, 0)])
UNDERSTATED = Committee(1, [Entry(100, 10, 0), LACKING], [Entry(100, 1, 0)])


@settings(max_examples=200)
@example(OUTVOTED, Random(0))
@given(committees(), st.randoms(use_true_random=False))
def test_s3_an_agreed_price_lies_between_two_honest_prices(
    committee: Committee, random: Random
) -> None:
    entries = committee.honest + committee.faulty
    random.shuffle(entries)
    outcome = agree(entries, committee.f)
    honest = [entry.price for entry in committee.honest if entry.price]
    if isinstance(outcome, Agreement):
        assert min(honest) <= outcome.price <= max(honest)


@settings(max_examples=200)
@example(UNDERSTATED)
@given(committees())
def test_s3_an_agreed_confidence_lies_in_the_honest_range(committee: Committee) -> None:
    outcome = agree(committee.honest + committee.faulty, committee.f)
    if isinstance(outcome, Agreement):
        honest = [entry for entry in committee.honest if entry.price]
        smallest = min(entry.confidence for entry in honest)
        greatest = max(entry.confidence for entry in honest)
        farthest = max(abs(entry.price - outcome.price) for entry in honest)
        assert smallest <= outcome.confidence <= max(greatest, farthest)


@given(committees())
def test_an_agreed_risk_level_lies_between_two_honest_levels(committee: Committee) -> None:
    outcome = agree(committee.honest + committee.faulty, committee.f)
    if isinstance(outcome, Agreement):
        levels = [entry.risk for entry in committee.honest if entry.price]
        assert min(levels) <= outcome.risk <= max(levels)


@given(
    st.integers(1, 31).flatmap(
        lambda n: st.tuples(
            st.just((n - 1) // 3),
            st.lists(st.integers(0, 2**62), min_size=n - (n - 1) // 3, max_size=n - (n - 1) // 3),
            st.lists(st.integers(0, 2**63 - 1), max_size=(n - 1) // 3),
        )
    ),
    st.integers(0, 2**62),
)
def test_s3_an_agreed_time_lies_between_two_honest_times_or_follows_the_parent(
    times: tuple[int, list[int], list[int]], parent_ms: int
) -> None:
    _, honest, faulty = times
    agreed = agreed_time_ms(honest + faulty, parent_ms)
    assert agreed == parent_ms + 1 or min(honest) <= agreed <= max(honest)
    assert agreed > parent_ms


@given(committees())
def test_s3_a_served_answer_is_the_agreed_one(committee: Committee) -> None:
    entries = committee.honest + committee.faulty
    observations = [Observation(i, 1_000 + i, (entry,)) for i, entry in enumerate(entries)]
    state = advance(genesis_state(TABLE, 0), observations, TABLE, committee.f, 3_000)
    feed = state.feeds[0]
    if feed.status is not Status.UNAVAILABLE:
        honest = [entry.price for entry in committee.honest if entry.price]
        assert min(honest) <= feed.price <= max(honest)


def test_the_agreed_price_is_element_k_minus_1_over_2() -> None:
    def agreed(prices: list[int], f: int) -> int:
        outcome = agree([Entry(price, 1, 0) for price in prices], f)
        assert isinstance(outcome, Agreement)
        return outcome.price

    assert agreed([10, 20, 30], 1) == 20
    assert agreed([40, 10, 30, 20], 1) == 20
    assert agreed([10, 20], 0) == 10


def test_the_agreed_confidence_covers_the_distance_of_most_members() -> None:
    entries = [Entry(100, 1, 0), Entry(200, 2, 0), Entry(300, 3, 0), Entry(400, 4, 0)]
    # Agreed 200; distances 0, 100, 100, 200 have the low median 100; confidences the low median 2.
    assert agree(entries, 1) == Agreement(200, 100, 0)
    wide = [Entry(price, 10**6 * (i + 1), 0) for i, (price, _, _) in enumerate(entries)]
    assert agree(wide, 1) == Agreement(200, 2 * 10**6, 0)


def test_fewer_than_2f_plus_1_prices_are_no_agreement() -> None:
    two = [Entry(10, 1, 0), Entry(10, 1, 0)]
    assert agree(two, 1) is Absence.TOO_FEW
    assert agree([*two, LACKING], 1) is Absence.TOO_FEW
    assert agree([*two, LACKING, LACKING], 1) is Absence.LACKED


def test_an_agreed_price_beyond_48_bits_is_none() -> None:
    assert agree([Entry(PRICE_MAX, 1, 0)] * 3, 1) == Agreement(PRICE_MAX, 1, 0)
    assert agree([Entry(PRICE_MAX + 1, 1, 0)] * 3, 1) is Absence.UNREPRESENTABLE


@settings(max_examples=50)
@given(st.lists(any_entries(), min_size=1, max_size=10), st.integers(0, 3))
def test_no_values_make_agreement_raise(entries: list[Entry], f: int) -> None:
    outcome = agree(entries, f)
    if isinstance(outcome, Agreement):
        assert 1 <= outcome.price <= PRICE_MAX
        assert 0 <= outcome.confidence <= UINT64_MAX
        assert 0 <= outcome.risk <= 255
