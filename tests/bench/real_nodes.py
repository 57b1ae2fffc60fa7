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
from pathlib import Path

import psutil

from node.config import ChainSection, EndpointSection
from node.journal import Certified, Signed, read_journal
from node.node_directory import NodeDirectory
from testnet.deployment import PORTS_PER_NODE, Deployment, configure, make_network
from testnet.ports import free_ports

NO_CHAIN = ChainSection(
    name="none", rpc_urls=["http://127.0.0.1:1"], chain_id=1, oracle="0x" + "11" * 20, publish=False
)
STOP_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened in one stretch of time."""

    rounds: int
    latency_ms: Sequence[float]
    cpu_ms: float


class Cluster:
    """Running nodes, and the exchanges that they listen to."""

    def __init__(
        self,
        directories: Sequence[NodeDirectory],
        nodes: Sequence[subprocess.Popen[bytes]],
        exchanges: subprocess.Popen[bytes],
    ) -> None:
        self._directories = directories
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
        for directory in self._directories:
            inside = {
                view: latency
                for view, (at_ms, latency) in _certified(directory).items()
                if begun_ms <= at_ms < ended_ms
            }
            views |= inside.keys()
            latency_ms += inside.values()
        return Measured(len(views), sorted(latency_ms), (ended - begun) * 1000)

    def _cpu_s(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return sum(t.user + t.system for t in times)


def _certified(directory: NodeDirectory) -> Mapping[int, tuple[int, float]]:
    """Return by view when the node held its certificate (Unix ms), and how long that took (ms)."""
    observed: dict[int, int] = {}
    certified: dict[int, tuple[int, float]] = {}
    for entry in read_journal(directory.path / "data" / "journal"):
        match entry:
            case Signed(kind="observation", view=view, t_ms=at_ms):
                observed[view] = at_ms
            case Certified(view=view, t_ms=at_ms) if view in observed:
                certified[view] = (at_ms, float(at_ms - observed[view]))
            case _:
                pass
    return certified


@contextmanager
def running(n: int, rate: float, quotes_per_second: float, root: Path) -> Iterator[Cluster]:
    """Run exchanges and n nodes in fresh directories under `root`; end them afterwards."""
    origin_ms, market = (
        str(time.time_ns() // 1_000_000),
        [sys.executable, "-m", "testnet.exchanges"],
    )
    exchanges = subprocess.Popen(
        [*market, "--seed", "1", "--origin-ms", origin_ms, "--rate", str(quotes_per_second)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        assert exchanges.stdout is not None
        deployment = _deploy(n, rate, json.loads(exchanges.stdout.readline()), root)
        directories = [member.directory for member in deployment.members]
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
        yield Cluster(directories, nodes, exchanges)
    finally:
        _stop([*nodes, exchanges])


def _deploy(n: int, rate: float, exchanges: dict[str, object], root: Path) -> Deployment:
    now_ms = time.time_ns() // 1_000_000
    ports = free_ports(n * PORTS_PER_NODE)
    deployment = make_network(root, ports, rate=rate, now_ms=now_ms)
    endpoints = {
        venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
        for venue, urls in exchanges.get("venues", exchanges).items()  # type: ignore[attr-defined]
    }
    configure(deployment, endpoints, NO_CHAIN)
    return deployment


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
