"""No single member, nor any f of them, can make a feed unavailable or switch it off."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.advance import advance
from aggregation.agreed import every_feed_agrees
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.observation import LACKING, Entry, Observation
from aggregation.state import AgreedState, genesis_state
from aggregation.status import Cause, Status
from aggregation.table import FeedTable

CARRY_MS = 3_000
SOURCES = tuple(SourceSpec(venue, "BTC", "USD", 1, 5_000) for venue in ("coinbase", "kraken"))
TABLE = FeedTable((FeedSpec("BTC", "USD", 7, 1, 2, 2_000, 1_000, 30_000, SOURCES),))

any_entries = st.just(LACKING) | st.builds(
    Entry, st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 255)
)
any_times = st.integers(0, 2**63 - 1)


def honest(member: int, time_ms: int) -> Observation:
    return Observation(member, time_ms + member, (Entry(10**9 + member, 10**4, 0),))


def live_state(n: int) -> AgreedState:
    everyone = [honest(member, 1_000) for member in range(n)]
    state = advance(genesis_state(TABLE, 0), everyone, TABLE, (n - 1) // 3, CARRY_MS)
    assert state.feeds[0].status is Status.LIVE
    return state


@given(st.integers(4, 31), st.data())
def test_no_f_members_can_make_a_feed_unavailable(n: int, data: st.DataObject) -> None:
    f = (n - 1) // 3
    quorum = (n + f) // 2 + 1
    faulty = data.draw(st.integers(1, f))
    honest_min = quorum - faulty
    included = data.draw(st.integers(honest_min, n - faulty))
    said = [honest(member, 1_250) for member in range(included)]
    for member in range(n - faulty, n):
        entry = data.draw(any_entries)
        said.append(Observation(member, data.draw(any_times), (entry,)))
    feed = advance(live_state(n), said, TABLE, f, CARRY_MS).feeds[0]
    assert feed.status in (Status.LIVE, Status.CARRIED)
    assert feed.price > 0


@given(st.integers(4, 31), st.data())
def test_no_f_members_can_halt_or_degrade_a_feed_that_2f_plus_1_honest_ones_observe(
    n: int, data: st.DataObject
) -> None:
    f = (n - 1) // 3
    said = [honest(member, 1_250) for member in range(n - f)]
    for member in range(n - f, n):
        said.append(Observation(member, data.draw(any_times), (data.draw(any_entries),)))
    assert advance(live_state(n), said, TABLE, f, CARRY_MS).feeds[0].status is Status.LIVE


@settings(max_examples=40)
@given(st.lists(st.tuples(any_entries, st.integers(0, 2)), min_size=20, max_size=40))
def test_no_single_member_can_switch_a_feed_off(rounds: list[tuple[Entry, int]]) -> None:
    """The faulty member of four leads every fourth round and then leaves one honest member out."""
    state = live_state(4)
    for step, (entry, left_out) in enumerate(rounds):
        time_ms = 1_250 + 250 * step
        faulty_leads = step % 4 == 3
        said = [honest(m, time_ms) for m in range(3) if not (faulty_leads and m == left_out)]
        said.append(Observation(3, time_ms, (entry,)))
        state = advance(state, said, TABLE, 1, CARRY_MS)
        assert state.feeds[0].status in (Status.LIVE, Status.CARRIED)
        assert state.feeds[0].status is Status.LIVE or faulty_leads


def carried_round(state: AgreedState, time_ms: int) -> AgreedState:
    said = [honest(0, time_ms), honest(1, time_ms), Observation(2, time_ms, (LACKING,))]
    return advance(state, said, TABLE, 1, CARRY_MS)


def test_a_feed_is_carried_at_most_carry_ms_after_the_last_agreement() -> None:
    state = live_state(4)
    agreed_at_ms = state.observed_at_ms
    before = state.feeds[0]
    state = carried_round(state, 2_000)
    assert state.feeds[0].status is Status.CARRIED
    assert state.feeds[0].cause is Cause.TOO_FEW_OBSERVATIONS
    assert (state.feeds[0].price, state.feeds[0].confidence) == (before.price, before.confidence)
    state = carried_round(state, agreed_at_ms + CARRY_MS)
    assert state.observed_at_ms == agreed_at_ms + CARRY_MS
    assert state.feeds[0].status is Status.CARRIED
    state = carried_round(state, agreed_at_ms + CARRY_MS + 1)
    assert state.feeds[0].status is Status.UNAVAILABLE
    assert state.feeds[0].cause is Cause.CARRY_EXPIRED
    assert state.feeds[0].price == 0
    # What is unavailable is not carried back to life.
    assert carried_round(state, agreed_at_ms + CARRY_MS + 2).feeds[0].status is Status.UNAVAILABLE
    everyone = [honest(member, 9_000) for member in range(4)]
    assert advance(state, everyone, TABLE, 1, CARRY_MS).feeds[0].status is Status.LIVE


def test_more_than_f_members_that_lack_a_feed_make_it_unavailable() -> None:
    said = [Observation(i, 2_000, (LACKING,)) for i in range(2)]
    said += [honest(2, 2_000), honest(3, 2_000)]
    feed = advance(live_state(4), said, TABLE, 1, CARRY_MS).feeds[0]
    assert (feed.status, feed.cause) == (Status.UNAVAILABLE, Cause.LACKED)


def test_a_feed_without_history_is_live_at_the_first_agreement() -> None:
    state = carried_round(genesis_state(TABLE, 0), 500)
    assert (state.feeds[0].status, state.feeds[0].cause) == (
        Status.UNAVAILABLE,
        Cause.NEVER_AGREED,
    )
    state = advance(state, [honest(member, 750) for member in range(3)], TABLE, 1, CARRY_MS)
    assert state.feeds[0].status is Status.LIVE


def test_a_leader_knows_when_every_feed_has_2f_plus_1() -> None:
    said = [honest(member, 1_000) for member in range(3)]
    assert every_feed_agrees(said, 1)
    assert not every_feed_agrees(said[:2], 1)
    assert not every_feed_agrees([*said[:2], Observation(3, 1_000, (LACKING,))], 1)
    assert not every_feed_agrees([], 0)
