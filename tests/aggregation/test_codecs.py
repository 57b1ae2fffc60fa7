"""Observations and states: decoding takes exactly what encoding writes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import digests as ours
from aggregation.advance import advance
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.observation import (
    LACKING,
    Entry,
    Observation,
    ObservationBody,
    observation_digest,
    payload_digest,
)
from aggregation.state import AgreedState, genesis_state
from aggregation.status import Cause, Status
from aggregation.table import FeedTable
from consensus import digests as theirs

UINT64 = st.integers(0, 2**64 - 1)
SOURCES = tuple(SourceSpec(venue, "BTC", "USD", 1, 5_000) for venue in ("coinbase", "kraken"))
TABLE = FeedTable((FeedSpec("BTC", "USD", 7, 1, 2, 2_000, 1_000, 30_000, SOURCES),))

entries = st.just(LACKING) | st.builds(
    Entry, st.integers(1, 2**64 - 1), UINT64, st.integers(0, 255)
)
bodies = st.builds(
    ObservationBody,
    st.integers(0, 2**63 - 1),
    st.lists(entries, min_size=1, max_size=6).map(tuple),
)


@given(bodies)
def test_an_observation_survives_its_encoding(body: ObservationBody) -> None:
    encoded = body.encode()
    assert len(encoded) == 10 + 17 * len(body.entries)
    assert ObservationBody.decode(encoded) == body


@given(st.binary(max_size=80) | bodies.map(ObservationBody.encode), st.binary(max_size=2))
def test_bytes_are_an_observation_exactly_or_refused(encoded: bytes, more: bytes) -> None:
    try:
        body = ObservationBody.decode(encoded + more)
    except ValueError:
        return
    assert body.encode() == encoded + more


@pytest.mark.parametrize(
    "body",
    [
        ObservationBody(2**63, (LACKING,)),
        ObservationBody(-1, (LACKING,)),
        ObservationBody(0, ()),
        ObservationBody(0, (Entry(0, 1, 0),)),
        ObservationBody(0, (Entry(2**64, 1, 0),)),
        ObservationBody(0, (Entry(1, -1, 0),)),
        ObservationBody(0, (Entry(1, 1, 256),)),
        ObservationBody(0, (LACKING,) * 3855),
    ],
)
def test_an_impossible_observation_is_refused(body: ObservationBody) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        body.encode()


def test_a_lacking_price_with_a_confidence_is_refused() -> None:
    encoded = ObservationBody(5, (Entry(1, 1, 0),)).encode()
    with pytest.raises(ValueError, match="confidence 0"):
        ObservationBody.decode(encoded[:10] + bytes(8) + encoded[18:])


@given(bodies)
def test_a_digest_binds_domain_view_member_and_every_number(body: ObservationBody) -> None:
    digest = observation_digest(bytes(32), 7, 3, body)
    others = [
        observation_digest(bytes(31) + b"\x01", 7, 3, body),
        observation_digest(bytes(32), 8, 3, body),
        observation_digest(bytes(32), 7, 4, body),
        observation_digest(bytes(32), 7, 3, ObservationBody(body.observed_at_ms ^ 1, body.entries)),
        observation_digest(
            bytes(32), 7, 3, ObservationBody(body.observed_at_ms, (*body.entries, LACKING))
        ),
    ]
    assert len({digest, *others}) == 6


def test_a_payload_has_one_order_and_no_member_twice() -> None:
    one, two = (1, bytes(32), bytes(64)), (2, bytes(32), bytes(64))
    assert payload_digest(1, [one, two]) != payload_digest(2, [one, two])
    for wrong in ([two, one], [one, one]):
        with pytest.raises(ValueError, match="ascend"):
            payload_digest(1, wrong)
    with pytest.raises(ValueError, match="64"):
        payload_digest(1, [(1, bytes(32), bytes(63))])


rounds = st.lists(
    st.lists(st.tuples(st.integers(0, 2**62), entries), min_size=3, max_size=5),
    max_size=6,
)


@settings(max_examples=60)
@given(rounds)
def test_a_state_survives_its_encoding_whatever_members_report(
    said: list[list[tuple[int, Entry]]],
) -> None:
    state = genesis_state(TABLE, 1)
    for members in said:
        observations = [Observation(i, t, (entry,)) for i, (t, entry) in enumerate(members)]
        state = advance(state, observations, TABLE, 1, 3_000)
        encoded = state.encode()
        assert len(encoded) == 10 + 62
        assert AgreedState.decode(encoded) == state
        assert AgreedState.decode(encoded).digest() == state.digest()


def history() -> AgreedState:
    state = genesis_state(TABLE, 1)
    for step, price in enumerate((100_000, 100_100, 50_000, 50_010)):
        said = [Observation(i, 250 * step, (Entry(price + i, 5, 0),)) for i in range(3)]
        state = advance(state, said, TABLE, 1, 3_000)
    assert state.feeds[0].status is Status.HALTED
    return state


@given(st.integers(0, 10 + 62 - 1), st.integers(1, 255))
def test_bytes_are_a_state_exactly_or_refused(place: int, change: int) -> None:
    encoded = bytearray(history().encode())
    encoded[place] ^= change
    try:
        decoded = AgreedState.decode(bytes(encoded))
    except ValueError:
        return
    assert decoded.encode() == bytes(encoded)
    assert decoded.digest() != history().digest()


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (10, 9, "9 is not a valid"),
        (10, Status.LIVE, "cannot have cause"),
        (11, Cause.DISPERSION, "cannot be halted by"),
        (12, 0, "cannot be halted by"),
        (14, 255, None),
        (16, 1, "out of range"),
        (40, 1, "later than"),
        (64, 255, "variance"),
    ],
)
def test_a_state_that_contradicts_itself_is_refused(
    place: int, value: int, says: str | None
) -> None:
    encoded = bytearray(history().encode())
    encoded[place] = value
    if says is None:
        # A count of rounds says nothing by itself: the feed's parameters are not at hand.
        AgreedState.decode(bytes(encoded))
        return
    with pytest.raises(ValueError, match=says):
        AgreedState.decode(bytes(encoded))


@pytest.mark.parametrize("encoded", [b"", bytes(10), bytes(9), history().encode() + b"\0"])
def test_a_state_of_another_length_is_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="state"):
        AgreedState.decode(encoded)


def test_advance_refuses_what_no_proposal_may_hold() -> None:
    state = genesis_state(TABLE, 1)
    said = [Observation(i, 5, (Entry(1, 1, 0),)) for i in range(3)]
    with pytest.raises(ValueError, match="fewer than 3"):
        advance(state, said[:2], TABLE, 1, 3_000)
    with pytest.raises(ValueError, match="twice"):
        advance(state, [*said[:2], said[0]], TABLE, 1, 3_000)
    wrong = Observation(9, 5, (LACKING, LACKING))
    with pytest.raises(ValueError, match="observed 2 feeds"):
        advance(state, [*said, wrong], TABLE, 1, 3_000)
    late = [Observation(i, 2**63 - 1, (LACKING,)) for i in range(3)]
    with pytest.raises(ValueError, match="out of range"):
        advance(AgreedState(2**63 - 1, state.feeds), late, TABLE, 1, 3_000)
    with pytest.raises(ValueError, match="the table"):
        advance(AgreedState(1, state.feeds * 2), said, TABLE, 1, 3_000)


def test_time_increases_strictly_even_when_clocks_stand_still() -> None:
    state = genesis_state(TABLE, 1_000)
    said = [Observation(i, 5, (Entry(100, 1, 0),)) for i in range(3)]
    for step in range(1, 4):
        state = advance(state, said, TABLE, 1, 3_000)
        assert state.observed_at_ms == 1_000 + step


def test_the_tags_are_those_of_the_consensus() -> None:
    shared = [name for name in vars(ours) if name.startswith("TAG_") and hasattr(theirs, name)]
    assert len(shared) == 5
    for name in shared:
        assert getattr(ours, name) == getattr(theirs, name)
    taken = {value for name, value in vars(theirs).items() if name.startswith("TAG_")}
    assert not {ours.TAG_LEAF, ours.TAG_NODE} & taken
    assert ours.keccak(b"") == theirs.keccak(b"")
