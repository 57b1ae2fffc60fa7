"""Forge's tests catch the mistakes that are known to be easy to make in the contracts."""

import shutil
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).parents[2] / "contracts"
NAMES = sorted(path.stem for path in (CONTRACTS / "test" / "mutants").glob("*.toml"))


@pytest.mark.checkout
def test_every_mistake_fits_the_sources(tmp_path: Path) -> None:
    """A mutant that no longer applies would be one that nobody has to catch."""
    from contracts.tools import mutants

    assert NAMES
    for name in NAMES:
        mutant = mutants.load(CONTRACTS / "test" / "mutants" / f"{name}.toml")
        scratch = tmp_path / name
        shutil.copytree(CONTRACTS / "src", scratch / "src")
        mutants.plant(mutant, scratch)
        patterns = mutant.caught_by + mutant.refuted_by
        assert patterns or mutant.pytest


@pytest.mark.slow
@pytest.mark.checkout
@pytest.mark.parametrize("name", NAMES)
def test_each_mistake_is_caught(name: str) -> None:
    from contracts.tools import mutants

    if not (CONTRACTS / "node_modules" / "@foundry-rs").is_dir():
        pytest.skip("forge is not installed: `npm install` in contracts/")
    mutant = mutants.load(CONTRACTS / "test" / "mutants" / f"{name}.toml")
    if not (mutant.caught_by or mutant.pytest):
        pytest.skip("only a proof sees it: `make verify-contracts`")
    caught, by = mutants.verdict(mutant, proofs=False)
    assert caught, by
