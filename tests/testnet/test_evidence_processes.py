"""Real processes: every honest member convicts one with two voices, as operators see it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CLI = [sys.executable, "-P", "-m", "node.cli"]
TWO_VOICES = Path(__file__).with_name("two_voices.py")
GUILTY = 2


@pytest.mark.slow
def test_a_member_with_two_voices_is_convicted_everywhere(net: Any, tmp_path: Path) -> None:
    processes = [
        net.start(index, command=[sys.executable, str(TWO_VOICES)] if index == GUILTY else None)
        for index in range(4)
    ]
    honest = [index for index in range(4) if index != GUILTY]
    name = net.nodes[GUILTY].name

    def held(index: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = net.cli(index, "evidence", "list").get("evidence", [])
        return rows

    net.wait(lambda: all(held(index) for index in honest), "evidence at every honest node")
    for index in honest:
        rows = held(index)
        assert {member for row in rows for member in row["members"]} == {name}
        assert {row["kind"] for row in rows} == {"two-votes"}
        status = net.cli(index, "status")
        assert {offence["member"] for offence in status["evidence"]} == {name}
        assert status["latest"] is not None
        out = tmp_path / f"export{index}"
        files = net.cli(index, "evidence", "export", "--out", str(out))["files"]
        assert files
        network = tmp_path / "network.json"
        verify = [*CLI, "evidence", "verify", files[0], "--network", str(network), "--json"]
        done = subprocess.run(verify, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout)["accused"] == [name]
        shown = net.cli(index, "evidence", "show", rows[0]["id"][:12])
        assert shown["names"] == [name]
    # What is kept outlives the process.
    processes[honest[0]].terminate()
    assert processes[honest[0]].wait(timeout=30) == 0
    net.start(honest[0])
    net.wait(lambda: held(honest[0]), "the evidence of before")
