"""The scenarios again with BLS, Ed25519, the node's verifier and the node's payloads.

Forged shares and certificates are points and bytes here, not marks as in a stub.
"""

import os
from random import Random

import pytest

from consensus.committee import Timing
from testnet.byzantine import Coalition
from testnet.chaos import SCENARIO_VIEWS_MIN, chaos
from testnet.forgeries import relabelled
from testnet.long_run import rate, run_many
from testnet.real_signatures import INFINITY, OFF_SUBGROUP, real_setting
from testnet.setting import BAD_SHARES
from testnet.simulation import Conditions, Simulation

TIMING = Timing(round_interval_ms=0, base_timeout_ms=300)


def _with(n: int, faulty: list[int], seed: int, vices: list[str], way: str) -> Simulation:
    simulation = Simulation(
        n,
        seed,
        conditions=Conditions(delay_ms=(1, 20), loss=100),
        faulty=faulty,
        setting=real_setting(n, TIMING, frozenset(faulty)),
    )
    simulation.coalition = Coalition(simulation, Random(seed), vices)
    simulation.coalition._false_way = way
    return simulation


def _refusals(simulation: Simulation) -> str:
    return " ".join(reason for node in simulation.honest for reason in node.refused)


@pytest.mark.parametrize(("n", "seeds"), [(4, range(5)), (7, range(70, 72))])
def test_chaos_with_real_signatures(n: int, seeds: range) -> None:
    for seed in seeds:
        simulation = chaos(n, seed, make=real_setting)
        assert simulation.highest_view >= SCENARIO_VIEWS_MIN
        assert min(node.running.root.height for node in simulation.honest) >= 2


@pytest.mark.slow
@pytest.mark.parametrize(("n", "count"), [(4, 400), (5, 100), (7, 150)])
def test_much_chaos_with_real_signatures(n: int, count: int) -> None:
    done, spent, failed = 0, 0.0, []
    jobs = os.cpu_count() or 1
    for batch, seconds, failures in run_many(n, range(count), jobs, kind="real", batch=25):
        done, spent, failed = done + batch, spent + seconds, failed + failures
    print(f"\nn = {n}: {done} scenarios, {rate(done, spent)}")
    assert not failed
    assert done == count


@pytest.mark.parametrize(
    ("way", "refusal"),
    [
        ("a QC of too few", "infinity signature|signers, 3 needed|bit beyond|does not verify"),
        ("a TC that counts twice", "overlapping group|bit beyond"),
        ("a TC said to be of the view before", "a TC whose signature does not verify|ascend below"),
    ],
)
def test_a_false_certificate_is_refused_and_the_others_go_on(way: str, refusal: str) -> None:
    simulation = _with(4, [1], 3, ["overreach", "forge"], way)

    def refused() -> bool:
        reasons = _refusals(simulation)
        return any(one in reasons for one in refusal.split("|"))

    assert simulation.run(30_000, refused), _refusals(simulation)
    simulation.require_commits(3, 20_000)


def test_bad_shares_of_every_kind_hold_nobody_up() -> None:
    simulation = _with(7, [2, 5], 4, ["forge", "withhold"], "no TC")
    kinds: set[int] = set()
    sign = simulation.signatures
    bad_share = sign.bad_share

    def noting(kind: int, member: int, digest: bytes) -> bytes:
        kinds.add(kind)
        return bad_share(kind, member, digest)

    sign.bad_share = noting  # type: ignore[method-assign]
    simulation.run(3_000)
    simulation.require_commits(3, 40_000)
    assert kinds == set(range(BAD_SHARES))
    assert all(node.halted is None for node in simulation.honest)


def test_what_a_bad_share_is() -> None:
    setting = real_setting(4, TIMING, frozenset({1, 2}))
    sign, digest = setting.signatures, b"d" * 32
    shares = [sign.bad_share(kind, 1, digest) for kind in range(BAD_SHARES)]
    assert shares[0] == INFINITY
    assert shares[2] == OFF_SUBGROUP
    assert len(set(shares)) == BAD_SHARES
    assert sign.share(1, digest) not in shares
    # Two of the last kind cancel, so that their aggregate is the true one.
    from blspy import G2Element

    total = G2Element.from_bytes(shares[4]) + G2Element.from_bytes(sign.bad_share(4, 2, digest))
    true = G2Element.from_bytes(sign.share(1, digest)) + G2Element.from_bytes(sign.share(2, digest))
    assert total == true


def test_a_point_off_the_subgroup_is_one() -> None:
    from py_arkworks_bls12381 import G2Point

    G2Point.from_compressed_bytes_unchecked(OFF_SUBGROUP)
    with pytest.raises(ValueError, match=r"."):
        G2Point.from_compressed_bytes(OFF_SUBGROUP)


def test_what_an_honest_member_never_signed_is_in_no_aggregate() -> None:
    setting = real_setting(4, TIMING, frozenset({1}))
    from consensus.errors import InvalidMessage
    from consensus.messages import Certificate, Header

    header = Header(3, 2_000_000, bytes(32), bytes(32))
    sign = setting.signatures
    with pytest.raises(InvalidMessage, match="does not verify"):
        sign.check(1, Certificate(sign.qc(header, [0, 1, 2]), None))
    for member in (0, 2):
        sign.share(member, header.id(setting.context.domain))
    qc = sign.qc(header, [0, 1, 2])
    sign.check(1, Certificate(qc, None))
    with pytest.raises(InvalidMessage, match="does not verify"):
        sign.check(1, Certificate(relabelled(qc, 4), None))
