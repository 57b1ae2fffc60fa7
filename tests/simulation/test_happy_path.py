"""A committee without faults: L1, and every size."""

import pytest

from consensus.committee import Timing
from testnet.simulation import Conditions, Simulation

RESPONSIVE = Timing(round_interval_ms=0)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 13])
@pytest.mark.parametrize("interval_ms", [0, 250])
def test_every_view_is_certified_and_committed(n: int, interval_ms: int) -> None:
    simulation = Simulation(n, seed=n, timing=Timing(round_interval_ms=interval_ms))
    simulation.run(5_000 if interval_ms else 1_000)
    heights = [node.running.root.height for node in simulation.nodes]
    views = [node.running.view for node in simulation.nodes]
    assert min(heights) >= (17 if interval_ms else 25)
    assert max(views) - min(heights) <= 3, "no view without a block"
    assert len({node.running.safety.last_timeout for node in simulation.nodes}) == 1


def test_l1_a_round_takes_network_time() -> None:
    """Observation, proposal, vote: three delays and two signature checks, whatever the timeout."""
    timing = Timing(round_interval_ms=0, base_timeout_ms=3_600_000)
    simulation = Simulation(4, 1, timing=timing, conditions=Conditions(delay_ms=(20, 20)))
    simulation.run(6_200)
    views = min(node.running.view for node in simulation.nodes)
    assert views >= 6_200 // (3 * 20 + 2) - 2


def test_a_run_depends_on_its_seed_alone() -> None:
    def trace(seed: int) -> list[str]:
        conditions = Conditions(delay_ms=(1, 300), loss=100, crash=2)
        lines: list[str] = []
        simulation = Simulation(
            4, seed, timing=RESPONSIVE, conditions=conditions, trace=lines.append
        )
        simulation.run(3_000)
        return lines

    assert trace(5) == trace(5)
    assert trace(5) != trace(6)
