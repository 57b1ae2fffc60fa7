"""Random faults from a seed; a failure names it, `python -m testnet.simulation` repeats it."""

import time

import pytest

from testnet.simulation import chaos, main


@pytest.mark.parametrize("block", range(6))
def test_chaos_of_four(block: int) -> None:
    for seed in range(15 * block, 15 * block + 15):
        chaos(4, seed)


@pytest.mark.parametrize("n", [5, 7, 13])
def test_chaos_of_more(n: int) -> None:
    for seed in range(1000, 1000 + 50 // n):
        chaos(n, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "count"), [(4, 3000), (5, 600), (7, 600), (13, 100), (31, 10)])
def test_long_chaos(n: int, count: int) -> None:
    begun = time.process_time()
    for seed in range(count):
        chaos(n, seed)
    spent = time.process_time() - begun
    print(f"\nn = {n}: {count} scenarios, {count / spent * 60:.0f} a minute and core")


def test_a_scenario_can_be_shown_from_its_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes", "4", "--seed", "7", "--trace"]) == 0
    shown = capsys.readouterr().out
    assert "SendProposal" in shown
    assert "scenarios" in shown
