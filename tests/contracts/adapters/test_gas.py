"""A read through an adapter costs what the committed snapshot says, and what was promised."""

import importlib.util
import json
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2]
SNAPSHOT = TESTS / "contracts" / "snapshots" / "adapters.json"
ADVICE = "if the change is meant, run `make bench-adapters ARGS=--write` and commit the snapshot"
COLD_ACCOUNT = 2_600


def test_the_snapshot_holds(kit: Any, beside: Any) -> None:
    spec = importlib.util.spec_from_file_location("adapters_bench", TESTS / "bench" / "adapters.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    assert bench.measure(kit, beside) == json.loads(SNAPSHOT.read_text("utf-8")), ADVICE


def test_the_snapshot_keeps_what_was_promised() -> None:
    snapshot = json.loads(SNAPSHOT.read_text("utf-8"))
    # With the one slot of feed 0 all in; else the adapter's own account aside.
    beyond = {"feed 0": 0, "other feeds": COLD_ACCOUNT, "behind an update": COLD_ACCOUNT}
    for case, gas in snapshot.items():
        reads = {name: spent for name, spent in gas.items() if name != "CrossRate read"}
        assert len(reads) == 8
        for name, spent in reads.items():
            assert spent - beyond[case] <= 11_000, name
