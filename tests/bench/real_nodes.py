"""Real node processes on loopback, as an operator would run them, and what they do in a while.

The latencies are read from the journals that the nodes keep anyway, the CPU times from the system.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import psutil

from consensus.committee import Timing
from feeds.catalogue import load_catalogue
from node import network_file
from node.config import EndpointSection, PeerSection
from node.journal import Certified, Signed, read_journal
from node.node_directory import NodeDirectory, create_node_directory, write_config
from node.registration import register

KEY_ITERATIONS = 1_000
"""Keys that live for a minute need no slow derivation."""

STOP_SECONDS_MAX = 10.0
VALID_MS = 86_400_000
PORTS = range(18_000, 30_000)


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
        directories = _deploy(n, rate, json.loads(exchanges.stdout.readline()), root)
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


def _deploy(n: int, rate: float, exchanges: dict[str, object], root: Path) -> list[NodeDirectory]:
    names = [f"member-{index}" for index in range(n)]
    directories = [
        create_node_directory(root / name, name, iterations=KEY_ITERATIONS) for name in names
    ]
    now_ms = time.time_ns() // 1_000_000
    network = network_file.create(
        "bench",
        [register(name, made.keys) for name, made in zip(names, directories, strict=True)],
        load_catalogue(None),
        genesis_time_ms=now_ms,
        valid_until_ms=now_ms + VALID_MS,
        timing=Timing(round_interval_ms=round(1000 / rate)),
    )
    for made in directories:
        assert made.keys.bls is not None
        network = network_file.sign(network, made.keys.bls)
    endpoints = {
        venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
        for venue, urls in exchanges.get("venues", exchanges).items()  # type: ignore[attr-defined]
    }
    ports = iter(_free_ports(4 * n))
    p2p = [f"/ip4/127.0.0.1/tcp/{next(ports)}" for _ in range(n)]
    for index, made in enumerate(directories):
        network_file.save(made.path / "network.json", network)
        peers = [
            PeerSection(member=names[other], address=p2p[other])
            for other in range(n)
            if other != index
        ]
        settings = replace(
            made.settings,
            p2p_listen=p2p[index],
            peers=peers,
            endpoints=endpoints,
            api_listen=f"127.0.0.1:{next(ports)}",
            control_listen=f"127.0.0.1:{next(ports)}",
            metrics_listen=f"127.0.0.1:{next(ports)}",
        )
        write_config(made, settings)
    return directories


def _free_ports(count: int) -> list[int]:
    """Return ports below those that the system gives to outgoing connections meanwhile."""
    ports: list[int] = []
    for port in Random().sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"fewer than {count} ports are free on this machine")


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
