"""The parts of a testnet's life that need no network."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main
from testnet import ports
from testnet.cluster import Options, fresh_directory
from testnet.deployment import testnet_feeds as feeds_of_testnet
from testnet.deployment import timing_for
from testnet.faults import FaultLog, FaultOrder, kill_leaders
from testnet.oracle_deployment import Deployer
from testnet.processes import Child, ChildFailed

PRINTS_AND_WAITS = "import time; print('{\"ready\": true}', flush=True); time.sleep(60)"


def child(tmp_path: Path, code: str) -> Child:
    return Child("child", [sys.executable, "-c", code], tmp_path / "child.log")


def test_a_process_announces_itself_and_is_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        process = child(tmp_path, PRINTS_AND_WAITS)
        await process.start(announces=True)
        assert await process.announcement(30) == {"ready": True}
        assert process.running
        assert await process.stop(10)
        assert not process.running
        assert not process.ended_by_itself

    asyncio.run(main())


def test_a_process_that_ignores_us_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PRINTS_AND_WAITS

    async def main() -> None:
        process = child(tmp_path, stubborn)
        await process.start(announces=True)
        await process.announcement(30)
        assert not await process.stop(0.1)
        assert not process.running

    asyncio.run(main())


def test_a_process_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        process = child(tmp_path, "raise SystemExit('no disk')")
        await process.start(announces=True)
        with pytest.raises(ChildFailed, match="no disk"):
            await process.announcement(30)
        await process.ended()
        assert process.ended_by_itself

    asyncio.run(main())


def test_ports_are_free_and_not_for_outgoing_connections() -> None:
    found = ports.free_ports(9)
    assert len(found) == 9
    first, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert found.stop <= int(first)
    with socket.create_server(("127.0.0.1", found[0])):
        assert not ports._is_free(found[0])


def test_timing_follows_the_rate() -> None:
    assert timing_for(4.0).round_interval_ms == 250
    assert timing_for(4.0).base_timeout_ms == 1_000
    slow = timing_for(0.5)
    assert slow.round_interval_ms == 2_000
    assert slow.base_timeout_ms > slow.round_interval_ms


def test_feeds_are_updated_often_enough_to_watch() -> None:
    for feed in feeds_of_testnet().feeds:
        assert feed.deviation_ppm <= 500
        assert feed.heartbeat_ms <= 12_000


@pytest.mark.parametrize("option", ["--rate", "--duration"])
@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400"])
def test_only_finite_numbers_are_taken_and_nothing_is_made_before(
    tmp_path: Path, option: str, number: str
) -> None:
    place = tmp_path / "net"
    result = CliRunner().invoke(main, ["testnet", "--dir", str(place), option, number])
    assert result.exit_code == 2
    assert option in result.stderr
    assert not place.exists()


def test_a_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChildFailed, match="cannot be a directory"):
        fresh_directory(tmp_path / "file" / "net")


def test_the_seed_decides_who_lies() -> None:
    faults = (FaultOrder("liar"), FaultOrder("liar"), FaultOrder("kill-leader"))
    options = [Options(7, None, 4.0, "embedded", faults, seed, Path()) for seed in (1, 1, 2, 3, 4)]
    assert all(len(made.liars) == 2 for made in options)
    assert options[0].liars == options[1].liars
    assert len({made.liars for made in options}) > 1


def test_the_contract_is_where_create_puts_it() -> None:
    from rlp import encode  # type: ignore[attr-defined]

    from consensus.digests import keccak

    deployer = Deployer()
    assert deployer.contract == keccak(encode([deployer.address, b""]))[12:]


class OneByOne:
    """Notes what is done to the nodes; nobody is back before it was asked twice."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.enough = asyncio.Event()
        self._asked = 0

    async def leader(self) -> int:
        return len(self.done) % 4

    def name(self, member: int) -> str:
        return f"node{member}"

    async def kill(self, member: int) -> None:
        self.done.append(f"kill {member}")

    async def start(self, member: int) -> None:
        self.done.append(f"start {member}")

    async def everyone_takes_part(self) -> bool:
        self._asked += 1
        self.done.append("asked")
        if len(self.done) >= 12:
            self.enough.set()
        return self._asked % 2 == 0


def test_leaders_are_killed_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testnet.faults.KILL_EVERY_S", 0.0)
    monkeypatch.setattr("testnet.faults.RESTART_AFTER_S", 0.0)
    monkeypatch.setattr("testnet.faults._READY_POLL_S", 0.0)
    nodes, log = OneByOne(), FaultLog()

    async def main() -> None:
        task = asyncio.create_task(kill_leaders(nodes, log))
        await nodes.enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert nodes.done[:4] == ["kill 0", "start 0", "asked", "asked"]
    assert nodes.done[4].startswith("kill")
    assert log.injected == sum(done.startswith("kill") for done in nodes.done)
