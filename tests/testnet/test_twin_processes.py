"""Real processes: a copy of a member's directory cannot sign beside it without being found."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node.journal import Signed, Started, read_journal
from testnet.ports import free_ports

CLI = [sys.executable, "-P", "-m", "node.cli"]


def own_ports() -> dict[str, str]:
    """Return what another machine would have: listeners of its own."""
    p2p, api, control, metrics = free_ports(4)
    return {
        "DIDYMA_P2P__LISTEN": f"/ip4/127.0.0.1/tcp/{p2p}",
        "DIDYMA_API__LISTEN": f"127.0.0.1:{api}",
        "DIDYMA_CONTROL__LISTEN": f"127.0.0.1:{control}",
        "DIDYMA_METRICS__LISTEN": f"127.0.0.1:{metrics}",
    }


def dialer(net: Any) -> int:
    """Return the member that dials all others: its copy reaches them from any address."""
    keys = [node.directory.keys.identity.public_key for node in net.nodes]
    return keys.index(min(keys))


def copy_of(net: Any, index: int, to: Path) -> Path:
    shutil.copytree(net.nodes[index].directory.path, to)
    return to / "node.toml"


def signed_by_last_process(data_dir: Path) -> list[Signed]:
    signed: list[Signed] = []
    for entry in read_journal(data_dir / "journal"):
        if isinstance(entry, Started):
            signed = []
        elif isinstance(entry, Signed):
            signed.append(entry)
    return signed


@pytest.mark.slow
def test_s4_a_copy_that_is_started_beside_its_twin_signs_nothing(net: Any, tmp_path: Path) -> None:
    me = dialer(net)
    other = (me + 1) % 4
    processes = [net.start(index) for index in range(4)]
    net.wait(lambda: net.view(me) > 4, "agreement")
    processes[me].send_signal(signal.SIGTERM)
    assert processes[me].wait(timeout=30) == 0
    config = copy_of(net, me, tmp_path / "copy")
    original = net.start(me)
    at = net.view(other)
    net.wait(lambda: net.view(me) > at + 8, "the original is back")

    # Slow machines may take seconds for the few views that a watch lasts.
    environ = {**own_ports(), "DIDYMA_NODE__TWIN_WATCH_SECONDS": "60"}
    environ["DIDYMA_NODE__TWIN_WATCH_VIEWS"] = "40"
    twin = net.start(me, config=config, environ=environ, log="twin.log")
    assert twin.wait(timeout=100) == 5, net.log("twin.log")
    log = net.log("twin.log")
    assert "twin.found" in log
    assert "didyma safety" in log
    assert signed_by_last_process(tmp_path / "copy" / "data") == []

    # It does not start again, and the original goes on unharmed and without accusation.
    again = net.start(me, config=config, environ=environ, log="again.log")
    assert again.wait(timeout=60) == 5
    assert "twin_watch" not in net.log("again.log")
    assert original.poll() is None
    at = net.view(other)
    net.wait(lambda: net.view(me) > at + 4, "the original goes on")
    for index in range(4):
        assert net.cli(index, "evidence", "list").get("evidence") == []


@pytest.mark.slow
def test_twins_that_start_at_once_and_without_a_watch_find_each_other(
    net: Any, tmp_path: Path
) -> None:
    me = dialer(net)
    config = copy_of(net, me, tmp_path / "copy")
    environ = {"DIDYMA_NODE__TWIN_WATCH_SECONDS": "0"}
    others = [index for index in range(4) if index != me]
    for index in others:
        net.start(index, environ=environ)
    twins = [
        net.start(me, environ=environ),
        net.start(me, config=config, environ={**environ, **own_ports()}, log="twin.log"),
    ]
    net.wait(lambda: any(twin.poll() is not None for twin in twins), "one of them halts")
    at = net.view(others[0])
    net.wait(lambda: net.view(others[0]) > at + 4, "the others go on")
    for twin, log in zip(twins, (f"node{me}.log", "twin.log"), strict=True):
        if twin.poll() is not None:
            assert twin.returncode == 5, net.log(log)
            assert "twin.found" in net.log(log)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_is_no_twin(net: Any, end: signal.Signals) -> None:
    processes = [net.start(index) for index in range(4)]
    net.wait(lambda: net.view(0) > 4, "agreement")
    for _ in range(3):
        processes[0].send_signal(end)
        processes[0].wait(timeout=30)
        processes[0] = net.start(0)
        at = net.view(1)
        net.wait(lambda at=at: net.view(0) > at + 4, "it is back")
    assert "twin.found" not in net.log("node0.log")
    done = subprocess.run([*CLI, "status", "--config", str(net.nodes[0].config_file)], check=False)
    assert done.returncode == 0
