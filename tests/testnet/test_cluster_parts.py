"""The parts of a testnet's life that need no network."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from consensus.committee import quorum
from node.cli import main
from testnet import ports
from testnet.cluster import Options, fresh_directory
from testnet.deployment import testnet_feeds as feeds_of_testnet
from testnet.deployment import timing_for
from testnet.faults import FAULTS, FaultLog, FaultOrder, kill_leaders
from testnet.havoc import wreak_havoc
from testnet.oracle_deployment import Deployer
from testnet.partitions import parts_below
from testnet.personas.catalogue import PERSONAS
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


def test_a_process_that_somebody_kills_is_told_with_the_signal(tmp_path: Path) -> None:
    async def main() -> None:
        process = child(tmp_path, "import sys; print('all is well', file=sys.stderr, flush=True)")
        process.command = (*process.command[:-1], process.command[-1] + "; " + PRINTS_AND_WAITS)
        await process.start(announces=True)
        await process.announcement(30)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await process.ended()
        assert process.ended_by_itself
        assert process.how_it_ended().startswith("was killed by signal 9: all is well (log: ")

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
    for feed in feeds_of_testnet(30).feeds:
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


def test_the_seed_decides_who_has_which_persona() -> None:
    faults = (
        FaultOrder("persona", persona="liar", count=2),
        FaultOrder("persona", persona="slow"),
        FaultOrder("kill-leader"),
    )
    options = [Options(7, None, 4.0, "embedded", faults, seed, Path()) for seed in (1, 1, 2, 3, 4)]
    assert all(sorted(made.personas.values()) == ["liar", "liar", "slow"] for made in options)
    assert all(len(made.plain) == 4 for made in options)
    assert options[0].personas == options[1].personas
    assert len({tuple(made.personas.items()) for made in options}) > 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--nodes", "4", "--fault", "liar:5"), "5 members with a persona among 4 nodes"),
        (("--nodes", "3", "--fault", "chaos"), "give more --nodes"),
        (("--nodes", "4", "--fault", "chaos", "--fault", "liar"), "give more --nodes"),
        (("--fault", "traitor"), "equivocator"),
        (("--nodes", "2", "--fault", "partitions"), "cannot be parted"),
        (("--fault", "liar:x"), "liar:2"),
    ],
)
def test_faults_that_cannot_be_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    place = tmp_path / "net"
    result = CliRunner().invoke(main, ["testnet", "--dir", str(place), *arguments])
    assert result.exit_code == 2
    assert told in result.stderr
    assert not place.exists()


def test_more_feeds_than_are_shipped_are_refused() -> None:
    refused = CliRunner().invoke(main, ["testnet", "--feeds", "999", "--duration", "1"])
    assert refused.exit_code == 2
    assert "are shipped" in refused.stderr


def test_the_help_names_every_fault_on_one_line() -> None:
    shown = CliRunner().invoke(main, ["testnet", "--help"]).output.splitlines()
    for name, about in [*FAULTS.items(), *((n, p.about) for n, p in PERSONAS.items())]:
        assert any(line.split() == [*name.split(), *about.split()] for line in shown), name


def test_the_contract_is_where_create_puts_it() -> None:
    from rlp import encode  # type: ignore[attr-defined]

    from consensus.digests import keccak

    deployer = Deployer()
    assert deployer.contract == keccak(encode([deployer.address, b""]))[12:]


class OneByOne:
    """Notes what is done to the nodes; nobody is back before it was asked twice."""

    def __init__(self, until: int = 12) -> None:
        self.until = until
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

    async def stop(self, member: int) -> None:
        self.done.append(f"stop {member}")

    def freeze(self, member: int) -> None:
        self.done.append(f"freeze {member}")

    def thaw(self, member: int) -> None:
        self.done.append(f"thaw {member}")

    async def killed_itself(self, member: int) -> bool:
        return False

    def part(self, parts: tuple[tuple[int, ...], ...]) -> None:
        self.done.append("part" if parts else "heal")

    @property
    def plain(self) -> Sequence[int]:
        return (0,)

    def takes_part(self, member: int) -> bool:
        self._asked += 1
        self.done.append("asked")
        if len(self.done) >= self.until:
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


def test_chaos_takes_no_more_away_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testnet.havoc.PAUSE_S", (0.0, 0.001))
    monkeypatch.setattr("testnet.havoc.AWAY_S", (0.0, 0.001))
    monkeypatch.setattr("testnet.faults._READY_POLL_S", 0.0)
    nodes, log = OneByOne(until=200), FaultLog()

    async def main() -> None:
        task = asyncio.create_task(wreak_havoc(nodes, (0, 1, 2, 4, 5), 2, 7, log))
        await nodes.enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert {done.split()[0] for done in nodes.done} == {
        *("kill", "freeze", "stop", "start", "thaw", "asked")
    }
    assert {outage.away for outage in log.outages} == {1, 2}
    assert {outage.member for outage in log.outages} == {f"node{i}" for i in (0, 1, 2, 4, 5)}
    # Each goes and comes back before it goes again.
    for member in (0, 1, 2, 4, 5):
        steps = [done.split()[0] for done in nodes.done if done.endswith(f" {member}")]
        gone = steps[::2]
        assert set(gone) <= {"kill", "freeze", "stop"}
        assert set(steps[1::2]) <= {"start", "thaw"}


@pytest.mark.parametrize("members", range(3, 32))
def test_no_part_of_a_parted_network_goes_on(members: int) -> None:
    chance = Random(f"{members}")
    for _ in range(20):
        parts = parts_below(quorum(members), members, chance)
        assert sorted(member for part in parts for member in part) == [*range(members)]
        assert all(0 < len(part) < quorum(members) for part in parts)
