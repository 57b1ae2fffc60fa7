"""The committed artifacts are those of the sources; see contracts/README.md for what it needs."""

import shutil
import subprocess
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).parents[2] / "contracts"


@pytest.mark.slow
@pytest.mark.checkout
def test_the_artifacts_are_built_from_the_sources() -> None:
    node = shutil.which("node")
    if node is None or not (CONTRACTS / "node_modules" / "solc").is_dir():
        pytest.skip("node or solc is not installed: `npm install` in contracts/")
    done = subprocess.run(
        [node, "build.mjs", "--check"], cwd=CONTRACTS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
