"""Four real nodes with simulated exchanges, as operators run them, for tests of processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
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


@dataclass
class Net:
    """Four operators' directories and their processes."""

    directory: Path
    nodes: tuple[MemberNode, ...]
    stack: ExitStack

    def start(
        self,
        index: int,
        *,
        command: list[str] | None = None,
        config: Path | None = None,
        environ: Mapping[str, str] | None = None,
        log: str | None = None,
        **options: Any,
    ) -> "subprocess.Popen[bytes]":
        name = log or f"node{index}.log"
        output = self.stack.enter_context((self.directory / name).open("ab"))
        process = subprocess.Popen(
            [
                *(command or [*CLI, "run"]),
                "--config",
                str(config or self.nodes[index].config_file),
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, "DIDYMA_LOG__FORMAT": "json", **(environ or {})},
            **options,
        )
        self.stack.callback(_end, process)
        return process

    def log(self, name: str) -> str:
        return (self.directory / name).read_text()

    def cli(self, index: int, *arguments: str) -> dict[str, Any]:
        config = ["--config", str(self.nodes[index].config_file)]
        done = subprocess.run(
            [*CLI, *arguments, *config, "--json"], capture_output=True, check=False
        )
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def view(self, index: int) -> int:
        latest = self.cli(index, "status").get("latest")
        return 0 if latest is None else int(latest["view"])

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
