"""The mistakes that `make verify-contracts` plants in the contracts fit them."""

import re
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


@pytest.mark.checkout
def test_every_proof_has_a_mistake_that_it_refutes() -> None:
    """A proof that holds of anything proves nothing; `make verify-contracts` shows refutations."""
    from contracts.tools import mutants, prove

    planted = [mutants.load(CONTRACTS / "test" / "mutants" / f"{name}.toml") for name in NAMES]
    patterns = [mutant.refuted_by for mutant in planted if mutant.refuted_by]
    proofs = prove.declared(CONTRACTS)
    assert proofs
    assert [name for name in proofs if not any(re.search(p, name) for p in patterns)] == []
    assert [p for p in patterns if not any(re.search(p, name) for name in proofs)] == []
