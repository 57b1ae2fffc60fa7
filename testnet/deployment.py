"""A network on loopback, made in a fresh directory as its operators would make it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aggregation.table import FeedTable
from consensus.committee import Timing
from feeds.catalogue import load_catalogue
from node import network_file as committee_file
from node.config import ChainSection, EndpointSection, PeerSection
from node.network_file import NetworkFile
from node.node_directory import NodeDirectory, create_node_directory, write_config
from node.registration import register
from testnet.feed_count import FEEDS_USUAL
from testnet.manifest import NETWORK_FILE

KEY_ITERATIONS = 1_000
"""Passwords of 256 random bits need no slow derivation of keys."""

DEVIATION_PPM_MAX = 500
HEARTBEAT_MS_MAX = 12_000
"""With these, hardly any minute of the market lacks an update for either reason."""

_VALID_MS = 365 * 24 * 3_600_000
_INTERVAL_MS_USUAL = 250
_NODES_USUAL = 10
_MS_PER_NODE = 100
PORTS_PER_NODE = 4


@dataclass(frozen=True, slots=True)
class NodePorts:
    """Where one node listens, on 127.0.0.1."""

    p2p: int
    api: int
    control: int
    metrics: int


@dataclass(frozen=True, slots=True)
class MemberNode:
    """A member whose directory is made; `index` is its place in the committee."""

    index: int
    name: str
    directory: NodeDirectory
    ports: NodePorts

    @property
    def config_file(self) -> Path:
        """Its `node.toml`."""
        return self.directory.config_file

    @property
    def operator(self) -> bytes:
        """The address of its account."""
        account = self.directory.keys.account
        assert account is not None
        return account.address


@dataclass(frozen=True, slots=True)
class Deployment:
    """Members with keys and a committee file that all have signed."""

    directory: Path
    network: NetworkFile
    members: tuple[MemberNode, ...]


def timing_for(rate: float, nodes: int = 4) -> Timing:
    """Return the timing of a network with so many rounds a second, all of it on one machine.

    Beyond a few nodes, which share its cores, everything takes longer: so they wait longer.
    """
    interval_ms = round(1_000 / rate)
    usual = Timing()
    crowded_ms = max(0, nodes - _NODES_USUAL) * _MS_PER_NODE
    slower_ms = max(0, interval_ms - _INTERVAL_MS_USUAL) + crowded_ms
    return replace(
        usual,
        round_interval_ms=interval_ms,
        base_timeout_ms=usual.base_timeout_ms + slower_ms,
        carry_ms=usual.carry_ms + 4 * slower_ms,
    )


def testnet_feeds(count: int) -> FeedTable:
    """Return the first feeds that are shipped, with updates of the chain often enough to watch."""
    return FeedTable(
        tuple(
            replace(
                feed,
                deviation_ppm=min(feed.deviation_ppm, DEVIATION_PPM_MAX),
                calm_deviation_ppm=min(feed.calm_deviation_ppm, DEVIATION_PPM_MAX),
                heartbeat_ms=min(feed.heartbeat_ms, HEARTBEAT_MS_MAX),
            )
            for feed in load_catalogue(None).feeds[:count]
        )
    )


def testnet_venues(count: int) -> tuple[str, ...]:
    """Return the exchanges that the testnet's feeds have sources at."""
    feeds = testnet_feeds(count).feeds
    return tuple(sorted({source.venue for feed in feeds for source in feed.sources}))


def make_network(
    directory: Path,
    ports: range,
    *,
    rate: float,
    now_ms: int,
    names: Sequence[str] = (),
    feeds: int = FEEDS_USUAL,
) -> Deployment:
    """Make keys, stores and the committee file of as many members as the ports are for."""
    members = []
    for index in range(len(ports) // PORTS_PER_NODE):
        name = names[index] if names else f"node{index}"
        first = ports[index * PORTS_PER_NODE]
        made = create_node_directory(directory / name, name, iterations=KEY_ITERATIONS)
        members.append(MemberNode(index, name, made, NodePorts(*range(first, first + 4))))
    network = committee_file.create(
        "testnet",
        [register(member.name, member.directory.keys) for member in members],
        testnet_feeds(feeds),
        genesis_time_ms=now_ms,
        valid_until_ms=now_ms + _VALID_MS,
        timing=timing_for(rate, len(members)),
    )
    for member in members:
        bls = member.directory.keys.bls
        assert bls is not None
        network = committee_file.sign(network, bls)
    committee_file.save(directory / NETWORK_FILE, network)
    for member in members:
        committee_file.save(member.directory.path / NETWORK_FILE, network)
    return Deployment(directory, network, tuple(members))


def configure(
    deployment: Deployment, endpoints: Mapping[str, EndpointSection], chain: ChainSection
) -> None:
    """Write each member's `node.toml`, now that exchanges and chain have addresses."""
    for member in deployment.members:
        ports = member.ports
        settings = replace(
            member.directory.settings,
            p2p_listen=_multiaddr(ports.p2p),
            peers=[
                PeerSection(member=other.name, address=_multiaddr(other.ports.p2p))
                for other in deployment.members
                if other is not member
            ],
            endpoints=endpoints,
            chains=[chain],
            api_listen=f"127.0.0.1:{ports.api}",
            control_listen=f"127.0.0.1:{ports.control}",
            metrics_listen=f"127.0.0.1:{ports.metrics}",
        )
        write_config(member.directory, settings)


def _multiaddr(port: int) -> str:
    return f"/ip4/127.0.0.1/tcp/{port}"
