"""Real node processes on loopback, as an operator would run them, and what they do in a while.

The latencies are read from the journals that the nodes keep anyway, the CPU times from the system.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from node.config import ChainSection, EndpointSection
from node.journal import Certified, Committed, Signed, read_journal
from node.node_directory import NodeDirectory
from node.running_epoch import first_epoch
from testnet.deployment import (
    PORTS_PER_NODE,
    Deployment,
    configure,
    make_network,
    testnet_feeds,
)
from testnet.ports import free_ports

NO_CHAIN = ChainSection(
    name="none", rpc_urls=["http://127.0.0.1:1"], chain_id=1, oracle="0x" + "11" * 20, publish=False
)
STOP_SECONDS_MAX = 10.0
VIEW_SECONDS_MAX = 10.0
FEEDS = 4
"""Few, since the bare path that rounds are compared with prices none."""

DELAYING_PROXY = Path(__file__).with_name("delaying_proxy.py")


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened in one stretch of time."""

    rounds: int
    latency_ms: Sequence[float]
    cpu_ms: float
    commit_ms: Sequence[float] = ()
    """From an own observation to the commit of its round."""


class Cluster:
    """Running nodes, and the exchanges that they listen to."""

    def __init__(
        self,
        deployment: Deployment,
        nodes: Sequence[subprocess.Popen[bytes]],
        exchanges: subprocess.Popen[bytes],
    ) -> None:
        self._network = deployment.network
        self._places = {member.name: place for place, member in enumerate(deployment.members)}
        self._directories = [member.directory for member in deployment.members]
        self._nodes = nodes
        self._processes = [psutil.Process(node.pid) for node in nodes]
        self._exchanges = exchanges

    def stop_exchanges(self) -> None:
        """End the exchanges: the nodes go on agreeing, that there are no prices."""
        _stop([self._exchanges])

    def wait_for_rounds(self, rounds: int, seconds_max: float) -> None:
        """Wait until every node holds so many certificates; raise `TimeoutError`."""
        deadline = time.monotonic() + seconds_max
        while any(len(_certified(d)) < rounds for d in self._directories):
            for node, directory in zip(self._nodes, self._directories, strict=True):
                if node.poll() is not None:
                    said = (directory.path / "log").read_text()[-2000:]
                    raise RuntimeError(f"node {directory.path.name} ended:\n{said}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {rounds} rounds were certified in {seconds_max:.0f} s")
            time.sleep(0.5)

    def measure(self, seconds: float) -> Measured:
        """Let the nodes run for a while."""
        begun_ms, begun = time.time_ns() // 1_000_000, self._cpu_s()
        time.sleep(seconds)
        ended, ended_ms = self._cpu_s(), time.time_ns() // 1_000_000
        views: set[int] = set()
        latency_ms: list[float] = []
        commit_ms: list[float] = []
        for directory in self._directories:
            inside = {
                view: latency
                for view, (at_ms, latency) in _certified(directory).items()
                if begun_ms <= at_ms < ended_ms
            }
            views |= inside.keys()
            latency_ms += inside.values()
            committed = _since_observed(directory, Committed)
            commit_ms += [ms for at_ms, ms in committed.values() if begun_ms <= at_ms < ended_ms]
        cpu_ms = (ended - begun) * 1000
        return Measured(len(views), sorted(latency_ms), cpu_ms, sorted(commit_ms))

    def kill_leader(self) -> None:
        """End the process of the member that leads next, without a word, as a view begins."""
        epoch = first_epoch(self._network)
        certified = newest = self._newest_view()
        deadline = time.monotonic() + VIEW_SECONDS_MAX
        while newest == certified and time.monotonic() < deadline:
            time.sleep(0.01)
            newest = self._newest_view()
        leader = self._nodes[self._places[epoch.member_names[epoch.context.leader(newest + 1)]]]
        leader.kill()
        leader.wait()

    def _newest_view(self) -> int:
        return max(_certified(self._directories[0]), default=0)

    def greatest_gap_ms(self, seconds: float) -> float:
        """Return the longest time in the next seconds in which no round was certified anywhere."""
        begun_ms = time.time_ns() // 1_000_000
        time.sleep(seconds)
        first: dict[int, int] = {}
        for directory in self._directories:
            for view, (at_ms, _) in _certified(directory).items():
                first[view] = min(at_ms, first.get(view, at_ms))
        moments = [at_ms for at_ms in sorted(first.values()) if at_ms >= begun_ms]
        return float(max(later - at for at, later in pairwise([begun_ms, *moments])))

    def _cpu_s(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return sum(t.user + t.system for t in times)


def _certified(directory: NodeDirectory) -> Mapping[int, tuple[int, float]]:
    """Return by view when the node held its certificate (Unix ms), and how long that took (ms)."""
    return _since_observed(directory, Certified)


def _since_observed(
    directory: NodeDirectory, kind: type[Certified] | type[Committed]
) -> Mapping[int, tuple[int, float]]:
    observed: dict[int, int] = {}
    found: dict[int, tuple[int, float]] = {}
    for entry in read_journal(directory.path / "data" / "journal"):
        if isinstance(entry, Signed) and entry.kind == "observation":
            observed[entry.view] = entry.t_ms
        elif isinstance(entry, kind) and entry.view in observed:
            found[entry.view] = (entry.t_ms, float(entry.t_ms - observed[entry.view]))
    return found


@contextmanager
def running(
    n: int, rate: float, quotes_per_second: float, root: Path, delay_ms: float = 0
) -> Iterator[Cluster]:
    """Run exchanges and n nodes in fresh directories under `root`; end them afterwards.

    With a delay, whatever members say to each other arrives so much later.
    """
    origin_ms, market = (
        str(time.time_ns() // 1_000_000),
        [sys.executable, "-m", "testnet.exchanges"],
    )
    exchanges = subprocess.Popen(
        [
            *(*market, "--seed", "1", "--origin-ms", origin_ms, "--rate", str(quotes_per_second)),
            *("--bases", ",".join(feed.base for feed in testnet_feeds(FEEDS).feeds)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    nodes: list[subprocess.Popen[bytes]] = []
    proxies: list[subprocess.Popen[bytes]] = []
    try:
        assert exchanges.stdout is not None
        deployment = _deploy(n, rate, json.loads(exchanges.stdout.readline()), root)
        directories = [member.directory for member in deployment.members]
        if delay_ms:
            proxies.append(_delay(deployment, delay_ms))
        for directory in directories:
            with (directory.path / "log").open("w") as log:
                command = [sys.executable, "-m", "node.cli", "run"]
                nodes.append(
                    subprocess.Popen(
                        [*command, "--config", str(directory.config_file)],
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        yield Cluster(deployment, nodes, exchanges)
    finally:
        _stop([*nodes, exchanges, *proxies])


def _deploy(n: int, rate: float, exchanges: dict[str, object], root: Path) -> Deployment:
    now_ms = time.time_ns() // 1_000_000
    ports = free_ports(n * PORTS_PER_NODE)
    deployment = make_network(root, ports, rate=rate, now_ms=now_ms, feeds=FEEDS)
    endpoints = {
        venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
        for venue, urls in exchanges.get("venues", exchanges).items()  # type: ignore[attr-defined]
    }
    configure(deployment, endpoints, NO_CHAIN)
    return deployment


def _delay(deployment: Deployment, delay_ms: float) -> subprocess.Popen[bytes]:
    """Put a proxy before each member, and tell the others to dial that."""
    real = [member.ports.p2p for member in deployment.members]
    fronts = dict(zip(real, free_ports(len(real)), strict=True))
    for member in deployment.members:
        path = member.directory.config_file
        text = path.read_text()
        for port, front in fronts.items():
            if port != member.ports.p2p:
                text = text.replace(f"/tcp/{port}", f"/tcp/{front}")
        path.write_text(text)
    proxy = subprocess.Popen(
        [
            *(sys.executable, str(DELAYING_PROXY), str(delay_ms)),
            *(f"{front}:{port}" for port, front in fronts.items()),
        ],
        stdout=subprocess.PIPE,
    )
    assert proxy.stdout is not None
    proxy.stdout.readline()
    return proxy


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
