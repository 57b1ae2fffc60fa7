"""The publisher's pure parts: triggers, order of transmitters, fees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.encoding import encode_answer, pack_words
from aggregation.feed import FeedSpec
from aggregation.status import Status
from node.publisher.fees import Fees, first_offer, gas_limit, replacement
from node.publisher.rpc import RpcError, RpcFailure, integer, octets, shown
from node.publisher.stages import transmitter_order
from node.publisher.triggers import Due, Stored, Trigger, answers_in, due

FEEDS = tuple(
    FeedSpec(base, "USD", 7, 1, 2, 5_000, 1_000, heartbeat_ms, ())
    for base, heartbeat_ms in (("BTC", 30_000), ("USDT", 60_000))
)
LIVE, CARRIED, HALTED, GONE = Status.LIVE, Status.CARRIED, Status.HALTED, Status.UNAVAILABLE
STORED = Stored(0, 5, 1_000_000, ((1_000_000, LIVE), (5_000, LIVE)))


def why(at_ms: int, *answers: tuple[int, Status], stored: Stored = STORED) -> Due | None:
    return due(stored, at_ms, answers, FEEDS, [1_000, 1_000], lead_ms=2_000)


def test_a_small_move_of_a_young_report_is_not_due() -> None:
    assert why(1_000_250, (1_001_000, LIVE), (4_995, LIVE)) is None


def test_a_deviation_beyond_the_threshold_is_due_either_way() -> None:
    for price in (1_001_001, 998_999):
        assert why(1_000_250, (price, LIVE), (5_000, LIVE)) == Due(Trigger.DEVIATION, "BTC/USD")


def test_the_threshold_is_that_of_the_agreed_volatility() -> None:
    moved = ((1_000_301, LIVE), (5_000, LIVE))
    assert due(STORED, 1_000_250, moved, FEEDS, [301, 1_000], 2_000) is None
    found = due(STORED, 1_000_250, moved, FEEDS, [300, 1_000], 2_000)
    assert found == Due(Trigger.DEVIATION, "BTC/USD")


def test_a_change_of_status_is_due_and_comes_first() -> None:
    found = why(1_900_000, (2_000_000, LIVE), (5_000, HALTED))
    assert found == Due(Trigger.STATUS, "USDT/USD")
    assert why(1_000_250, (0, GONE), (5_000, LIVE)) == Due(Trigger.STATUS, "BTC/USD")


def test_carried_counts_as_live() -> None:
    assert why(1_000_250, (1_000_000, CARRIED), (5_000, LIVE)) is None


def test_a_heartbeat_is_due_early_by_the_lead() -> None:
    same = ((1_000_000, LIVE), (5_000, LIVE))
    assert why(1_027_999, *same) is None
    assert why(1_028_000, *same) == Due(Trigger.HEARTBEAT, "BTC/USD")


def test_what_is_not_newer_is_never_due() -> None:
    assert why(1_000_000, (9_000_000, LIVE), (5_000, HALTED)) is None
    assert why(10, (9_000_000, LIVE), (5_000, HALTED)) is None


def test_everything_is_due_before_the_first_report() -> None:
    empty = Stored(0, 0, 0, answers_in((0,), 2))
    assert empty.answers == ((0, GONE), (0, GONE))
    assert why(1, (1, LIVE), (1, LIVE), stored=empty) == Due(Trigger.STATUS, "BTC/USD")
    found = why(1_000_000_000, (0, GONE), (0, GONE), stored=empty)
    assert found == Due(Trigger.HEARTBEAT, "BTC/USD")


def test_answers_are_read_from_words() -> None:
    words = pack_words([encode_answer(77, 1, LIVE), encode_answer(88, 1, HALTED)])
    assert answers_in(words, 2) == ((77, LIVE), (88, HALTED))


@given(st.integers(1, 40), st.integers(0, 2**63), st.integers(1, 2**63))
def test_the_order_is_a_permutation(members: int, view: int, chain_id: int) -> None:
    order = transmitter_order(b"n" * 32, chain_id, b"o" * 20, 0, view, members)
    assert sorted(order) == list(range(members))


def test_everybody_comes_first_in_turn() -> None:
    firsts = [transmitter_order(b"n" * 32, 1, b"o" * 20, 0, view, 4)[0] for view in range(400)]
    assert all(firsts.count(member) > 60 for member in range(4))


fees = st.integers(0, 10**13)


@given(fees, fees, st.integers(1, 10**13))
def test_an_offer_covers_the_base_fee_within_the_cap(base: int, tip: int, cap: int) -> None:
    offer = first_offer(base, tip, cap)
    if offer is None:
        assert base + 1 > cap
    else:
        assert base + offer.tip <= offer.max_fee <= cap
        assert 1 <= offer.tip <= offer.max_fee


@given(fees, fees, fees, st.integers(1, 10**12), st.integers(1, 10**13))
def test_a_replacement_is_one_that_pools_take(
    base: int, tip: int, extra: int, old_tip: int, cap: int
) -> None:
    old = Fees(old_tip + extra, old_tip)
    offer = replacement(old, base, tip, cap)
    if offer is not None:
        assert offer.max_fee * 100 >= old.max_fee * 110
        assert offer.tip * 100 >= old.tip * 110
        assert max(offer.tip, base) <= offer.max_fee <= cap


def test_a_report_of_a_hundred_feeds_has_gas_enough() -> None:
    assert gas_limit(1) == 440_000
    assert gas_limit(25) == 1_400_000


def test_an_access_key_in_a_url_is_not_shown() -> None:
    assert shown("https://user:pass@rpc.example:8545/v3/SECRET?key=SECRET") == (
        "https://rpc.example:8545"
    )
    assert shown("http://[::1]:80/SECRET") == "http://[::1]:80"


@pytest.mark.parametrize(
    "result", [None, 5, "5", "0x", "0xzz", "0x" + "f" * 65, [], RpcError(-32000, "no", b"")]
)
def test_a_hostile_answer_is_a_failure_of_its_server(result: object) -> None:
    with pytest.raises(RpcFailure):
        integer(result, "number")
    if result != "0x":
        with pytest.raises(RpcFailure):
            octets(None if result == "0x" + "f" * 65 else result, "bytes")
