"""A member that was away for longer than any chain it may hold."""

import pytest

from consensus.committee import Timing
from testnet.simulation import Conditions, Simulation


@pytest.mark.parametrize("loss", [0, 200])
def test_a_long_absence_is_caught_up_with_in_pieces(
    monkeypatch: pytest.MonkeyPatch, loss: int
) -> None:
    monkeypatch.setattr("consensus.fetch.CHAIN_BLOCKS_MAX", 40)
    simulation = Simulation(4, 5, timing=Timing(round_interval_ms=20, base_timeout_ms=100))
    simulation.run(300)
    away = simulation.nodes[2]
    simulation.crash(away)
    simulation.run(25_000)
    height = max(node.core.root.height for node in simulation.nodes if node.core)
    assert height > 3 * 64, "several responses, and more pieces than one"
    simulation.conditions = Conditions(loss=loss)
    simulation.start(away)
    held = 0
    for _ in range(60):
        simulation.run(250)
        held = max(held, *(len(want.chain) for want in away.running._fetcher.all()), 0)
    assert away.running.root.height > height
    assert held < 40 + 64, "no more than a piece and the response that filled it"
