"""Real processes: every honest member convicts one with two voices, as operators see it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from node.config import EndpointSection, PeerSection
from node.node_directory import write_config
from testnet.deployment import PORTS_PER_NODE, MemberNode, make_network
from testnet.ports import free_ports

PATIENCE_S = 120
CLI = [sys.executable, "-P", "-m", "node.cli"]
MARKET = [sys.executable, "-P", "-m", "testnet.exchanges", "--seed", "3"]
TWO_VOICES = Path(__file__).with_name("two_voices.py")
GUILTY = 2


@dataclass
class Net:
    """Four operators' directories and their processes."""

    directory: Path
    nodes: tuple[MemberNode, ...]
    stack: ExitStack

    def start(self, index: int) -> "subprocess.Popen[bytes]":
        log = self.stack.enter_context((self.directory / f"node{index}.log").open("ab"))
        config = ["--config", str(self.nodes[index].config_file)]
        command = [sys.executable, str(TWO_VOICES)] if index == GUILTY else [*CLI, "run"]
        process = subprocess.Popen([*command, *config], stdout=log, stderr=log)
        self.stack.callback(_end, process)
        return process

    def cli(self, index: int, *arguments: str) -> dict[str, Any]:
        config = ["--config", str(self.nodes[index].config_file)]
        done = subprocess.run(
            [*CLI, *arguments, *config, "--json"], capture_output=True, check=False
        )
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def wait(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.3)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate(timeout=30)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with ExitStack() as stack:
        now_ms = time.time_ns() // 1_000_000
        exchanges = subprocess.Popen(
            [*MARKET, "--origin-ms", str(now_ms)],
            stdout=subprocess.PIPE,
        )
        stack.callback(_end, exchanges)
        assert exchanges.stdout is not None
        market = json.loads(exchanges.stdout.readline())
        ports = free_ports(4 * PORTS_PER_NODE)
        deployment = make_network(tmp_path, ports, rate=4, now_ms=now_ms)
        for node in deployment.members:
            settings = replace(
                node.directory.settings,
                p2p_listen=f"/ip4/127.0.0.1/tcp/{node.ports.p2p}",
                peers=[
                    PeerSection(member=other.name, address=f"/ip4/127.0.0.1/tcp/{other.ports.p2p}")
                    for other in deployment.members
                    if other is not node
                ],
                api_listen=f"127.0.0.1:{node.ports.api}",
                control_listen=f"127.0.0.1:{node.ports.control}",
                metrics_listen=f"127.0.0.1:{node.ports.metrics}",
                endpoints={
                    venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
                    for venue, urls in market["venues"].items()
                },
                chains=[],
            )
            write_config(node.directory, settings)
        yield Net(tmp_path, tuple(deployment.members), stack)


@pytest.mark.slow
def test_a_member_with_two_voices_is_convicted_everywhere(net: Net, tmp_path: Path) -> None:
    processes = [net.start(index) for index in range(4)]
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
