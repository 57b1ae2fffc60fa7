"""Quorums, bitmaps, leaders and what a configuration refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    bitmap_of,
    faulty_max,
    quorum,
    signers_of,
)
from testnet.stub_signatures import stub_context


@pytest.mark.parametrize("n", range(1, 129))
def test_two_quorums_share_an_honest_member_and_the_honest_are_a_quorum(n: int) -> None:
    f, q = faulty_max(n), quorum(n)
    assert 3 * f < n
    assert n <= 3 * (f + 1)
    assert 2 * q - n >= f + 1, "two quorums share more than the faulty"
    assert 2 * (q - 1) - n < f + 1, "and no smaller quorum does"
    assert q <= n - f, "the honest alone are a quorum"


@given(st.sets(st.integers(0, 127)))
def test_a_bitmap_holds_exactly_its_signers(signers: set[int]) -> None:
    bitmap = bitmap_of(sorted(signers, reverse=True))
    assert len(bitmap) == 32
    assert signers_of(bitmap) == tuple(sorted(signers))


def test_bit_i_is_the_big_endian_weight_of_member_i() -> None:
    assert bitmap_of([0]) == bytes(31) + b"\x01"
    assert bitmap_of([127]) == bytes(16) + b"\x80" + bytes(15)
    assert signers_of(b"\x80" + bytes(31)) == (255,)


@pytest.mark.parametrize("n", [1, 2, 4, 7, 31, 128])
def test_every_member_leads_once_in_n_views(n: int) -> None:
    context = stub_context(n)
    for first in (0, 1, 12345):
        assert sorted(context.leader(view) for view in range(first, first + n)) == list(range(n))


def test_the_order_of_leaders_comes_from_the_configuration() -> None:
    orders = {stub_context(7, Timing(max_lag_ms=lag)).leader_order for lag in range(1000, 1020)}
    assert len(orders) > 10


def members(n: int) -> tuple[Member, ...]:
    return stub_context(n).configuration.members


@pytest.mark.parametrize("field", ["bls_key", "ed25519_key", "operator"])
def test_two_members_with_one_key_are_refused(field: str) -> None:
    one, two = members(2)
    values = {
        name: getattr(one if name == field else two, name)
        for name in ("bls_key", "bls_key_compressed", "ed25519_key", "operator")
    }
    with pytest.raises(ValueError, match=f"the same {field}"):
        Configuration((one, Member(**values)), bytes(32), Timing(), 1)


def test_impossible_sizes_are_refused() -> None:
    for count in (0, 129):
        with pytest.raises(ValueError, match="1 to 128 members"):
            Configuration(members(128) * 2 if count else (), bytes(32), Timing(), 1)
    with pytest.raises(ValueError, match="32 bytes"):
        Configuration(members(4), bytes(31), Timing(), 1)
    with pytest.raises(ValueError, match="bls_key must be 128"):
        Member(bytes(127), bytes(48), bytes(32), bytes(20))
    for bad in (-1, 3_600_001):
        with pytest.raises(ValueError, match="grace_ms"):
            Timing(grace_ms=bad)


def test_domains_differ_in_network_epoch_and_configuration() -> None:
    base = stub_context(4)
    others = [
        EpochContext(b"o" * 32, 0, base.configuration, base.genesis_state_digest, 1),
        EpochContext(base.network, 1, base.configuration, base.genesis_state_digest, 1),
        stub_context(5),
        stub_context(4, Timing(carry_ms=1)),
    ]
    assert len({context.domain for context in [base, *others]}) == 5


def test_the_genesis_is_known_by_equality_and_differs_with_its_state_and_origin() -> None:
    base = stub_context(4)
    other_state = EpochContext(base.network, 0, base.configuration, b"t" * 32, 1)
    decided = EpochContext(
        base.network, 0, base.configuration, base.genesis_state_digest, 1, b"d" * 32
    )
    assert len({base.genesis_id, other_state.genesis_id, decided.genesis_id}) == 3
    assert base.id_of(base.genesis_qc) == base.genesis_id
    assert base.id_of(other_state.genesis_qc) != base.genesis_id
