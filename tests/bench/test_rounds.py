"""The benchmark runs, ends, and leaves figures that can be compared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_rounds_are_measured_beside_the_bare_path() -> None:
    command = [sys.executable, str(Path(__file__).with_name("rounds.py"))]
    done = subprocess.run(
        [*command, "--members", "4", "--seconds", "4", "--json"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    [four] = json.loads(done.stdout)["committees"]
    assert four["n"] == 4
    for name in ("bare", "real", "real_without_feeds"):
        assert four[name]["rounds"] > 0
        assert 0 < four[name]["p50_ms"] <= four[name]["p99_ms"]
        assert four[name]["cpu_ms"] > 0
    assert all(ratio > 0 for ratio in four["ratio"].values())


@pytest.mark.slow
def test_a_delay_is_between_the_members_and_a_dead_leader_is_left() -> None:
    command = [sys.executable, str(Path(__file__).with_name("rounds.py"))]
    done = subprocess.run(
        [*command, "--members", "4", "--seconds", "4", "--delay-ms", "40", "--json"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    [four] = json.loads(done.stdout)["delayed"]
    assert four["rounds"] > 0
    # Not how fast, but that the delay is there: three times to a certificate, five to a commit.
    assert four["certificate_ms"] >= 3 * 40
    assert four["commit_ms"] >= 5 * 40
    assert four["killed_gap_ms"] >= four["timeout_ms"]
