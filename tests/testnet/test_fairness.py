"""Real processes: a leader that leaves a member out is found by the others, and by the member."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from node.config import ChainSection, EndpointSection
from node.fairness.inclusion import TURNS_TO_ALARM
from testnet.deployment import PORTS_PER_NODE, Deployment, configure, make_network
from testnet.ports import free_ports

PATIENCE_S = 120
COMMAND = [sys.executable, "-P", "-m", "node.cli"]
NO_CHAIN = ChainSection(
    name="none", rpc_urls=["http://127.0.0.1:1"], chain_id=1, oracle="0x" + "11" * 20, publish=False
)
CENSORS, CENSORED = 0, 1

CENSOR = f"""
import sys
from pathlib import Path
from node.config_file import load_config
from node.daemon import run
from node.payload import AggregationRule

build = AggregationRule.build

def without(self, view, observations, change=None):
    others = [one for one in observations if one.member != {CENSORED}]
    return build(self, view, others if len(others) >= self._q else observations, change)

AggregationRule.build = without
run(load_config(Path(sys.argv[1])))
"""
"""A node like any other, whose leader's block lacks one member whenever a quorum is left."""


@pytest.fixture
def committee(tmp_path: Path) -> Iterator[tuple[Deployment, dict[int, "subprocess.Popen[bytes]"]]]:
    with ExitStack() as stack:
        now_ms = time.time_ns() // 1_000_000
        market = [sys.executable, "-P", "-m", "testnet.exchanges"]
        exchanges = subprocess.Popen(
            [*market, "--seed", "3", "--origin-ms", str(now_ms)], stdout=subprocess.PIPE
        )
        assert exchanges.stdout is not None
        stack.callback(exchanges.stdout.close)
        processes: dict[int, subprocess.Popen[bytes]] = {-1: exchanges}
        try:
            venues = json.loads(exchanges.stdout.readline())["venues"]
            ports = free_ports(4 * PORTS_PER_NODE)
            deployment = make_network(tmp_path, ports, rate=8, now_ms=now_ms)
            endpoints = {
                venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
                for venue, urls in venues.items()
            }
            configure(deployment, endpoints, NO_CHAIN)
            for member in deployment.members:
                log = stack.enter_context((tmp_path / f"{member.name}.log").open("wb"))
                config = str(member.config_file)
                command = [*COMMAND, "run", "--config", config]
                if member.index == CENSORS:
                    command = [sys.executable, "-P", "-c", CENSOR, config]
                processes[member.index] = subprocess.Popen(command, stdout=log, stderr=log)
            yield deployment, processes
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


def accounts_of(deployment: Deployment, index: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{deployment.members[index].ports.control}/v1/fairness"
    try:
        with urlopen(url, timeout=5) as answer:
            accounts: dict[str, Any] = json.load(answer)
            return accounts
    except OSError:
        return {"alarms": [], "leaders": []}


def wait(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


@pytest.mark.slow
def test_a_leader_that_withholds_is_found_by_all_and_nobody_else_is_accused(
    committee: tuple[Deployment, dict[int, "subprocess.Popen[bytes]"]], tmp_path: Path
) -> None:
    deployment, processes = committee
    names = [member.name for member in deployment.members]
    honest = [member.index for member in deployment.members if member.index != CENSORS]
    expected = {
        index: ("own_left_out" if index == CENSORED else "left_out", names[CENSORS])
        for index in honest
    }

    def found(index: int) -> set[tuple[str, str]]:
        alarms = accounts_of(deployment, index)["alarms"]
        # The member that is left out may be the dearest or the cheapest: then prices are bent too.
        return {(a["kind"], a["leader"]) for a in alarms if a["kind"] != "price_bias"}

    wait(lambda: all(expected[i] in found(i) for i in honest), "the leader was not found")
    for index in honest:
        assert found(index) == {expected[index]}
        fairness = accounts_of(deployment, index)
        assert {alarm["leader"] for alarm in fairness["alarms"]} == {names[CENSORS]}
        for leader in fairness["leaders"]:
            shares = {pair["member"]: pair for pair in leader["pairs"]}
            for member, pair in shares.items():
                if (leader["leader"], member) == (names[CENSORS], names[CENSORED]):
                    assert pair["omitted"] >= TURNS_TO_ALARM
                    assert pair["inclusion_ppm"] < 200_000
                else:
                    assert pair["inclusion_ppm"] > 800_000, (index, leader["leader"], pair)
        log = (tmp_path / f"{names[index]}.log").read_text()
        assert f"fairness.{expected[index][0]} " in log
    config = str(deployment.members[CENSORED].config_file)
    done = subprocess.run(
        [*COMMAND, "committee", "status", "--config", config], capture_output=True
    )
    shown = done.stdout.decode()
    assert f"ALARM own_left_out: my observations are left out by {names[CENSORS]} " in shown
    assert all(process.poll() is None for process in processes.values())
