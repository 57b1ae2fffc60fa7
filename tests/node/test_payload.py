"""The payload rule: whose observations make a block, and what is refused."""

from typing import Any

import msgspec
import pytest

from aggregation.observation import Entry, ObservationBody
from consensus.errors import InvalidPayload
from consensus.messages import PAYLOAD_BYTES_MAX, Observed
from node.payload import decode_payload, encode_payload


def apply(committee: Any, view: int, observations: list[Observed]) -> Any:
    payload = encode_payload(observations)
    return committee.rule.apply(committee.genesis, committee.genesis.observed_at_ms, view, payload)


def test_a_quorum_of_observations_leads_to_answers(keyed: Any) -> None:
    committee = keyed.Committee(4)
    observed = [committee.observed(i, 3) for i in (0, 2, 3)]
    payload = committee.rule.build(3, observed[::-1])
    assert decode_payload(payload) == tuple(observed), "ascending by member"
    outcome = committee.rule.apply(committee.genesis, keyed.GENESIS_MS, 3, payload)
    assert outcome.observed_at_ms == keyed.GENESIS_MS + 500
    assert outcome.state.feeds[0].price == 10**12
    assert outcome.payload_digest == committee.rule.digest(3, payload)
    assert outcome == committee.rule.apply(committee.genesis, keyed.GENESIS_MS, 3, payload)


def test_what_a_payload_may_not_be(keyed: Any) -> None:
    committee = keyed.Committee(4)
    good = [committee.observed(i, 3) for i in range(4)]
    other_view = committee.observed(3, 2)
    cases = {
        "2 observations": good[:2],
        "another view": [*good[:3], other_view],
        "ascend": [good[1], good[0], good[2]],
        "do not ascend": [good[0], good[1], good[1], good[2]],
        "ascend by": [*good[:3], msgspec.structs.replace(good[3], member=4)],
        "another number of feeds": [
            *good[:2],
            committee.observed(2, 3, ObservationBody(1, (Entry(1, 1, 0),))),
        ],
        "malformed": [*good[:2], msgspec.structs.replace(good[2], body=b"\x00" * 9)],
    }
    for why, observations in cases.items():
        with pytest.raises(InvalidPayload, match=why):
            apply(committee, 3, observations)


@pytest.mark.parametrize("payload", [b"", b"\x90x", b"\xc0", b"\x91" * 2000, b"\x91\xa1\x80"])
def test_garbage_is_no_payload(keyed: Any, payload: bytes) -> None:
    committee = keyed.Committee(4)
    with pytest.raises(InvalidPayload):
        committee.rule.apply(committee.genesis, keyed.GENESIS_MS, 1, payload)
    with pytest.raises(InvalidPayload):
        committee.rule.digest(1, payload)


def test_an_observation_is_checked_before_it_is_kept(keyed: Any) -> None:
    committee = keyed.Committee(4)
    committee.rule.check(committee.observed(1, 9))
    bad_bodies = (b"", b"\x01", ObservationBody(1, (Entry(1, 1, 0),) * 3).encode())
    for body in bad_bodies:
        with pytest.raises(InvalidPayload):
            committee.rule.check(Observed(9, 1, body, bytes(64)))


def test_the_digest_covers_signatures_members_and_order_but_not_the_encoding(keyed: Any) -> None:
    committee = keyed.Committee(4)
    observed = [committee.observed(i, 3) for i in range(3)]
    digest = committee.rule.digest(3, encode_payload(observed))
    resigned = msgspec.structs.replace(observed[2], signature=b"\x01" * 64)
    assert committee.rule.digest(3, encode_payload([*observed[:2], resigned])) != digest
    assert committee.rule.digest(4, encode_payload(observed)) != digest
    # msgpack takes integers longer than needed, so bytes on the wire are never what is hashed.
    payload = encode_payload(observed)
    longer = payload.replace(b"\x94\x03\x00", b"\x94\xcc\x03\x00", 1)
    assert longer != payload
    assert committee.rule.digest(3, longer) == digest
    with pytest.raises(InvalidPayload, match="ascend"):
        committee.rule.digest(3, encode_payload(observed[::-1]))


def test_a_time_beyond_all_bounds_is_refused_and_no_crash(keyed: Any) -> None:
    committee = keyed.Committee(4)
    late = ObservationBody(2**63 - 1, committee.body().entries)
    try:
        outcome = apply(committee, 3, [committee.observed(i, 3, late) for i in range(3)])
    except InvalidPayload:
        return
    observed = [committee.observed(i, 4, late) for i in range(3)]
    with pytest.raises(InvalidPayload):
        committee.rule.apply(outcome.state, outcome.observed_at_ms, 4, encode_payload(observed))


def test_what_does_not_fit_is_left_out_down_to_a_quorum(keyed: Any) -> None:
    committee = keyed.Committee(13)
    large = [Observed(1, member, bytes(50_000), bytes(64)) for member in range(13)]
    left_out = set()
    for view in range(1, 14):
        payload = committee.rule.build(view, large)
        members = {one.member for one in decode_payload(payload)}
        assert len(payload) <= PAYLOAD_BYTES_MAX
        assert len(members) >= committee.context.q
        left_out |= set(range(13)) - members
    assert len(left_out) > 3, "not the same ones in each view"
