"""Real processes: members that come back when the others no longer have what they missed."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from node.config import EndpointSection, PeerSection
from node.journal import BeganFrom, read_journal
from node.network_file import load
from node.node_directory import write_config
from testnet.audit.epochs import epoch_cases
from testnet.audit.verdict import judge as judge_case
from testnet.deployment import PORTS_PER_NODE, Deployment, make_network
from testnet.manifest import ChainEntry, Manifest
from testnet.ports import free_ports

PATIENCE_S = 120
BLOCKS_MAX = 16
BEGUN_BLOCKS = 6
AWAY_BLOCKS = 45
"""More than all blocks that the others keep, those above the last final one included."""


@dataclass
class Net:
    """Four members' directories and their processes."""

    directory: Path
    deployment: Deployment
    manifest: Manifest
    stack: ExitStack
    processes: dict[int, "subprocess.Popen[bytes]"]

    def start(self, index: int) -> None:
        log = self.stack.enter_context((self.directory / f"node{index}.log").open("ab"))
        config = str(self.deployment.members[index].config_file)
        self.processes[index] = subprocess.Popen(
            [sys.executable, "-P", "-m", "node.cli", "run", "--config", config],
            stdout=log,
            stderr=log,
        )

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].wait()

    def data(self, index: int) -> Path:
        return self.deployment.members[index].directory.path / "data"

    def ask(self, index: int, path: str) -> tuple[int, Any]:
        port = self.deployment.members[index].ports.api
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def status(self, index: int) -> dict[str, Any]:
        status: dict[str, Any] = self.ask(index, "/v1/status")[1]
        return status

    def height(self, index: int) -> int:
        return int(self.status(index).get("height", 0))

    def newest_view(self, index: int) -> int:
        return int((self.status(index).get("latest") or {}).get("view", 0))

    def certifies_beyond(self, index: int, view: int) -> bool:
        return self.newest_view(index) > view

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.1)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with ExitStack() as stack:
        now_ms = time.time_ns() // 1_000_000
        market = ("--seed", "4", "--origin-ms", str(now_ms))
        exchanges = subprocess.Popen(
            [sys.executable, "-P", "-m", "testnet.exchanges", *market], stdout=subprocess.PIPE
        )
        stack.callback(exchanges.kill)
        assert exchanges.stdout is not None
        announced = json.loads(exchanges.stdout.readline())
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
                endpoints={
                    venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
                    for venue, urls in announced["venues"].items()
                },
                chains=[],
                api_listen=f"127.0.0.1:{node.ports.api}",
                control_listen=f"127.0.0.1:{node.ports.control}",
                metrics_listen=f"127.0.0.1:{node.ports.metrics}",
            )
            write_config(node.directory, settings)
            with node.config_file.open("a") as file:
                file.write(f"\n[store]\nblocks_max = {BLOCKS_MAX}\n")
        manifest = Manifest(
            seed=4,
            origin_ms=now_ms,
            start_minute=announced["start_minute"],
            members=(),
            chain=ChainEntry("embedded", 1, "0x" + 40 * "0"),
        )
        net = Net(tmp_path, deployment, manifest, stack, {})
        try:
            yield net
        finally:
            for process in (*net.processes.values(), exchanges):
                process.kill()
                process.wait()
            exchanges.stdout.close()


@pytest.mark.slow
def test_members_come_back_when_nobody_has_what_they_missed(net: Net) -> None:
    for index in range(4):
        net.start(index)
    net.wait(
        lambda: all(net.height(i) >= BEGUN_BLOCKS for i in range(4)), "the network never began"
    )

    # One that was killed and away for longer than the others keep blocks.
    kept = net.newest_view(3)
    net.kill(3)
    goal = net.height(0) + AWAY_BLOCKS
    net.wait(lambda: all(net.height(i) >= goal for i in range(3)), "the others did not go on")
    at = net.newest_view(0)
    net.start(3)
    net.wait(lambda: net.certifies_beyond(3, at), "node3 did not come back")
    net.wait(lambda: bool(net.status(3).get("gaps")), "node3 tells of nothing that it skipped")
    (gap,) = net.status(3)["gaps"]
    assert gap["height"] - gap["above_height"] > 1
    assert gap["above_height"] >= BEGUN_BLOCKS // 2, "it went on from what it had"
    # Its history: all before and after, and of what it skipped it says so.
    assert net.ask(3, f"/v1/reports/{kept}")[0] == 200
    newest = net.newest_view(3)
    code, report = net.ask(3, f"/v1/reports/{newest}")
    assert code == 200
    assert net.ask(0, f"/v1/reports/{newest}")[1]["id"] == report["id"]
    code, refusal = net.ask(3, f"/v1/reports/{gap['view'] - 1}")
    assert (code, refusal["error"]["code"]) == (404, "report_skipped")

    # One that lost all its blocks, but not what it signed.
    net.kill(2)
    with sqlite3.connect(net.data(2) / "safety.db") as safety:
        assert safety.execute("DELETE FROM block").rowcount > BLOCKS_MAX // 2
    safety.close()
    at = net.newest_view(0)
    net.start(2)
    # Far enough for votes of its own: a checkpoint alone may bring it a little beyond.
    net.wait(lambda: net.certifies_beyond(2, at + 20), "node2 did not come back")

    for process in net.processes.values():
        process.terminate()
    for process in net.processes.values():
        assert process.wait(30) == 0
    for index in (2, 3):
        began = [e for e in read_journal(net.data(index) / "journal") if isinstance(e, BeganFrom)]
        assert began
        print(f"node{index} went on from height {began[-1].height}")
    network = load(net.directory / "network.json")
    (case,) = epoch_cases(net.manifest, network, [net.data(i) for i in range(4)])
    verdict = judge_case(case)
    assert verdict.ok, verdict.violations
    signed = {member.index for member in case.members if voted_after(member.entries, at)}
    assert signed == {0, 1, 2, 3}


def voted_after(entries: Any, view: int) -> bool:
    return any(getattr(entry, "kind", None) == "vote" and entry.view > view for entry in entries)
