"""What every path costs is what the committed snapshot says, and what was promised (O9)."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "gas.py"
SNAPSHOT = Path(__file__).parent / "snapshots" / "gas.json"
ADVICE = "if the change is meant, run `make bench-gas ARGS=--write` and commit the snapshot"


@cache
def bench() -> Any:
    spec = importlib.util.spec_from_file_location("gas_bench", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(kit: Any, n: int, feeds: int, absent: int) -> None:
    expected = json.loads(SNAPSHOT.read_text("utf-8"))
    measured = bench().measure(kit, n, feeds, absent)
    assert measured == expected[f"{n} members, {feeds} feeds, {absent} absent"], ADVICE


@pytest.mark.parametrize("case", [(4, 1, 0), (4, 20, 0), (4, 5, 1), (16, 1, 5)], ids=str)
def test_the_snapshot_holds(kit: Any, case: tuple[int, int, int]) -> None:
    compare(kit, *case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [(4, 100, 0), (31, 20, 10), (100, 1, 0), (100, 1, 33)], ids=str)
def test_the_snapshot_of_large_networks_holds(kit: Any, case: tuple[int, int, int]) -> None:
    compare(kit, *case)


def test_the_snapshot_keeps_what_was_promised() -> None:
    snapshot = json.loads(SNAPSHOT.read_text("utf-8"))
    assert len(snapshot) == 48
    for name, gas in snapshot.items():
        n, feeds, absent = (int(part) for part in name.split() if part.isdigit())
        if not absent:
            # The signers' bits are calldata: thirteen bytes of them for a hundred members.
            assert gas["push"] <= {1: 191_200, 5: 203_000, 20: 225_000, 100: 350_000}[feeds], name
        if n == 100 and feeds == 1:
            assert gas["push"] <= 220_000
        if feeds == 1:
            assert gas["malformed"] <= 250_000, name
        assert gas["prove"] <= (33_000 if feeds <= 20 else 34_000), name
        assert gas["read"] <= 6_000, name
        assert gas["push"] > gas["limit"]
